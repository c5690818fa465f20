/** Steps 6 and 7 of the tutorial: the FORWARD policy, rules by pair of interfaces, and INPUT beside them. */
import { CLOSED, GATEWAY_CLOSED, PAIRS_ACCEPTED } from "./configuration.ts";
import { Address, BRIDGE_SIDE, Netns, UPLINK } from "./places.ts";
import { packetsIn, replies, requests } from "./seen.ts";
import { askAndLook, askTable, configure, instead, type Lab, PING, type Step } from "./step.ts";

export const forwardDrop: Step = {
  number: "6",
  claim: "FORWARD policy DROP: packets are visible on the bridge side, none on the uplink",
  async run(lab) {
    await configure(lab, CLOSED);
    const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, [BRIDGE_SIDE, UPLINK]);
    await askTable(lab, "rules");
    const { report } = lab;
    const sent = requests(at(BRIDGE_SIDE), { source: Address.C1, destination: Address.OUTSIDE });
    report.verdict("the bridge side shows the request", sent.length === 1, instead(at(BRIDGE_SIDE)));
    const left = packetsIn(at(UPLINK));
    report.verdict("no packet is on the uplink", left.length === 0, instead(left));
    report.verdict("the ping is not answered", status !== 0, "it was answered");
    const drops = await lab.router.stops("forward-drop");
    report.verdict("the router has counted one packet dropped by FORWARD", drops === 1, `it has counted ${drops}`);
  },
};

export const forwardAccept: Step = {
  number: "7",
  claim: "FORWARD ACCEPT by interface pair: it flows again; the gateway is INPUT's affair",
  async run(lab) {
    await gatewayAnswers(lab, true, "with FORWARD closed the gateway still answers: that is INPUT's affair");
    await configure(lab, PAIRS_ACCEPTED);
    await outsideAnswers(lab, "both directions flow again");
    await configure(lab, GATEWAY_CLOSED);
    await gatewayAnswers(lab, false, "with INPUT closed the gateway does not answer");
    await outsideAnswers(lab, "what is forwarded does not meet INPUT: the outside host still answers");
  },
};

async function gatewayAnswers(lab: Lab, expected: boolean, claim: string): Promise<void> {
  const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.GATEWAY}`, [BRIDGE_SIDE]);
  const asked = requests(at(BRIDGE_SIDE), { destination: Address.GATEWAY }).length === 1;
  const answered = status === 0 && replies(at(BRIDGE_SIDE), { source: Address.GATEWAY }).length === 1;
  lab.report.verdict(claim, asked && answered === expected, instead(at(BRIDGE_SIDE)));
}

async function outsideAnswers(lab: Lab, claim: string): Promise<void> {
  const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, [BRIDGE_SIDE, UPLINK]);
  const holds =
    status === 0 &&
    requests(at(UPLINK), { source: Address.UPLINK }).length === 1 &&
    replies(at(BRIDGE_SIDE), { source: Address.OUTSIDE, destination: Address.C1 }).length === 1;
  lab.report.verdict(claim, holds, instead([...at(BRIDGE_SIDE), ...at(UPLINK)]));
}
