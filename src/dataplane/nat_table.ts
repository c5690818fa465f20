/** The nat table's rules with what they offer, ready to be asked: by PREROUTING and POSTROUTING, for new flows only. */
import type { CompiledChain } from "../filter/compiled_chain.ts";
import type { CompiledRules } from "../filter/compiled_rules.ts";
import type { FilterKey } from "../filter/key.ts";
import { meaningOf, type Surroundings } from "../filter/names.ts";
import type { Range, Rule, Target } from "../filter/rule_set.ts";
import { DestinationChoice, type Publisher, SourceChoice, type Span } from "../nat/rules.ts";
import { Protocol } from "../packet/ipv4.ts";
import type { Interface } from "./interfaces.ts";

/** Addresses of a SNAT rule beyond this many are not answered for by ARP. */
const MOST_POOL_ADDRESSES = 1024;

/** Addresses that source NAT hands out, which the router therefore answers for on an interface. */
export interface AddressPool extends Range {
  interface: number;
}

export class NatTable {
  readonly rules: CompiledRules;
  readonly pools: AddressPool[] = [];
  readonly hasDestinations: boolean;
  /** A rule of PREROUTING (or of a chain that it may lead to) changes the mark. */
  readonly hasMarks: boolean;
  /** All that decides about destinations, in words: the same words, the same decisions. */
  readonly words: string;
  /** Of the words: another process tells by it whether its flows were translated by the same decisions. */
  readonly digest: number;
  private readonly interfaces: readonly (Interface | undefined)[];
  /** By the rules' numbers. */
  private readonly sources: (SourceChoice | undefined)[] = [];
  private readonly masquerades: (SourceChoice[] | undefined)[] = [];
  /** Of ICMP, whose identifiers may have a range of their own. */
  private readonly echoMasquerades: (SourceChoice[] | undefined)[] = [];
  private readonly destinations: (DestinationChoice | undefined)[] = [];
  /** What may answer in the name of another: DNAT's choices with the protocol of their rule. */
  private readonly answering: { protocol: number | undefined; choice: DestinationChoice }[] = [];

  constructor(rules: CompiledRules, interfaces: readonly (Interface | undefined)[], around: Surroundings) {
    this.rules = rules;
    this.interfaces = interfaces;
    const { nat, sets } = rules.ruleSet;
    this.words = JSON.stringify([nat, sets, interfaces.map((each) => [each?.name, each?.addresses])]);
    this.digest = digestOf(this.words);
    let number = 0;
    for (const table of [rules.ruleSet.filter, rules.ruleSet.nat]) {
      for (const chain of table.chains) {
        for (const rule of chain.rules) this.add(number++, rule, around);
        number++;
      }
    }
    this.hasDestinations = this.destinations.some((choice) => choice !== undefined);
    this.hasMarks = rules.ruleSet.nat.chains.some(({ rules: all }) => all.some(({ target }) => isMark(target)));
  }

  /** What a new flow's source may become on its way out of `key.outInterface`; undefined: it keeps its own. */
  sourceChoice(key: FilterKey): SourceChoice | undefined {
    const rule = this.ask(this.rules.postrouting, key);
    if (rule < 0) return undefined;
    const masquerades = key.protocol === Protocol.ICMP ? this.echoMasquerades : this.masquerades;
    return this.sources[rule] ?? masquerades[rule]?.[key.outInterface];
  }

  /** What a new flow's destination becomes; undefined: it stays. */
  destinationChoice(key: FilterKey): DestinationChoice | undefined {
    const rule = this.ask(this.rules.prerouting, key);
    return rule < 0 ? undefined : this.destinations[rule];
  }

  /** Whether what comes from `address` and `port` would be the answer of a flow whose destination is translated. */
  mayAnswer(protocol: number, address: number, port: number): boolean {
    return this.answering.some(
      (each) => (each.protocol === undefined || each.protocol === protocol) && each.choice.mayAnswerFrom(address, port),
    );
  }

  private ask(chain: CompiledChain, key: FilterKey): number {
    if (chain.size === 0 && key.isDry) return -1;
    this.rules.evaluate(chain, key);
    return this.rules.isPolicy ? -1 : this.rules.decided;
  }

  private add(number: number, rule: Rule, around: Surroundings): void {
    const { target } = rule;
    if (target?.kind === "SNAT") {
      this.sources[number] = new SourceChoice(target.addresses, target.ports, isRandom(target));
      this.addPool(rule, target.addresses, around);
    } else if (target?.kind === "MASQUERADE") {
      const choose = (each: Interface | undefined, span: Span | undefined): SourceChoice => {
        const own = each?.address ?? 0;
        return new SourceChoice({ first: own, last: own }, target.ports ?? span, isRandom(target));
      };
      this.masquerades[number] = this.interfaces.map((each) => choose(each, each?.shared?.ports));
      this.echoMasquerades[number] = this.interfaces.map((each) => choose(each, each?.shared?.echoIds));
    } else if (target?.kind === "DNAT") {
      const publisher = this.publisherOf(rule, target.publishes);
      const { addresses, ports, base, random } = target;
      this.addDestination(number, rule, new DestinationChoice(addresses, ports, base, random === true, publisher));
    } else if (target?.kind === "REDIRECT") {
      const { ports, random } = target;
      this.addDestination(
        number,
        rule,
        new DestinationChoice(undefined, ports, undefined, random === true, undefined, true),
      );
    }
  }

  private addDestination(number: number, rule: Rule, choice: DestinationChoice): void {
    this.destinations[number] = choice;
    const isOne = rule.protocol !== undefined && rule.protocol.not === undefined;
    if (!choice.isRedirect) this.answering.push({ protocol: isOne ? rule.protocol?.is : undefined, choice });
  }

  private publisherOf(rule: Rule, name: string | undefined): Publisher | undefined {
    const owner = this.interfaces.find((each) => each !== undefined && each.name === name);
    if (name === undefined || owner === undefined) return undefined;
    return { interface: owner.index, address: rule.destination?.is[0]?.first ?? owner.address };
  }

  private addPool(rule: Rule, addresses: Range | undefined, around: Surroundings): void {
    if (addresses === undefined || (addresses.last - addresses.first) >>> 0 >= MOST_POOL_ADDRESSES) return;
    const named =
      rule.out === undefined || rule.out.not === true ? [] : meaningOf(rule.out.is, around).interfaces.slice(0, 1);
    const holding = this.interfaces.find((each) => each?.holds(addresses.first) === true)?.index;
    const owner = named[0] ?? holding;
    if (owner !== undefined && this.interfaces[owner]?.isNetwork === false)
      this.pools.push({ ...addresses, interface: owner });
  }
}

function isRandom({ random, randomFully }: { random?: true; randomFully?: true }): boolean {
  return random === true || randomFully === true;
}

function isMark(target: Target | undefined): boolean {
  return target?.kind === "MARK" || target?.kind === "CONNMARK";
}

/** FNV-1a over code units. */
function digestOf(text: string): number {
  let digest = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) digest = Math.imul(digest ^ text.charCodeAt(i), 0x01000193);
  return digest | 0;
}
