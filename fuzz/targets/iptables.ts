/** Commands of iptables and texts of iptables-restore: what is accepted is shown again in words that mean the same. */

import { RULES } from "../../test/support/iptables/corpus.ts";
import { DOCKER } from "../../test/support/iptables/docker.ts";
import { MemoryTables } from "../../test/support/iptables/tables.ts";
import { insist } from "../target.ts";
import { kindOf, textTarget } from "./texts.ts";

const COMMANDS = [
  "-P FORWARD DROP",
  "-N user",
  "-A FORWARD -j user",
  "-A user -p tcp --dport 80 -j RETURN",
  "-I FORWARD 1 -i lab -o wan -j ACCEPT",
  "-D FORWARD 1",
  "-D FORWARD -i lab -o wan -j ACCEPT",
  "-R FORWARD 1 -j DROP",
  "-t nat -A POSTROUTING -s 10.55.66.0/24 -o wan -j MASQUERADE",
  "-t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.55.66.3:80",
  "-L -n -v --line-numbers",
  "-t nat -S",
  "-C FORWARD -j ACCEPT",
  "-E user other",
  "-Z FORWARD 1",
  "-F",
  "-X user",
  "-A FORWARD -c 5 500 -m comment --comment 'a b' -j LOG --log-prefix \"x y\"",
  ...RULES.map((rule) => (rule.startsWith("-t") ? rule : `-A ${rule}`)),
];

/** What is saved, restored and saved again is the same. */
function checkSaved(tables: MemoryTables): void {
  const saved = tables.save(true);
  const other = new MemoryTables();
  const answer = other.restore(saved, { counters: true });
  insist(answer.isDone, () => `its own words are refused: ${answer.output}`);
  insist(other.save(true) === saved, () => "restored, it is another");
}

export const IPTABLES = textTarget({
  name: "iptables",
  about: "commands of iptables, one a line, one after the other",
  seeds: COMMANDS,
  words: ["\n", "\n-N user\n", "\n-A user ", "\n-A FORWARD ", "\n-t nat -A POSTROUTING ", "\n-L\n", "\n-D FORWARD 1\n"],
  run(text) {
    const tables = new MemoryTables();
    const reached = new Set<string>();
    for (const line of text.split("\n").slice(0, 40)) {
      const { isDone, output } = tables.run(line);
      reached.add(`${isDone} ${kindOf(output)}`);
    }
    checkSaved(tables);
    return reached;
  },
});

export const RESTORE = textTarget({
  name: "restore",
  about: "texts of iptables-restore",
  seeds: [
    DOCKER,
    `*filter\n:FORWARD DROP [1:2]\n${RULES.filter((rule) => rule.startsWith("FORWARD"))
      .slice(0, 30)
      .map((rule) => `-A ${rule}`)
      .join("\n")}\nCOMMIT\n`,
    "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o wan -j MASQUERADE --random\nCOMMIT\n",
    "*filter\n:user - [0:0]\n[5:400] -A FORWARD -j user\n-I user 1 -p icmp -j REJECT\nCOMMIT\n# end\n",
  ],
  words: ["\nCOMMIT\n", "*filter\n", "*nat\n", ":a - [0:0]\n", "[18446744073709551615:1] ", "-A ", ":FORWARD "],
  run(text) {
    const tables = new MemoryTables();
    const before = tables.save(true);
    const { isDone, output } = tables.restore(text, { counters: true });
    if (!isDone) insist(tables.save(true) === before, () => "refused, but something has changed");
    checkSaved(tables);
    return [`${isDone} ${kindOf(output)}`];
  },
});
