/** `tapir top`: asks the router again and again, and shows what has changed in between. */
import type { Order } from "../../control/top/flow_rates.ts";
import type { TopSample } from "../../control/top/top_api.ts";
import { ask } from "../client.ts";
import { compareSamples, type TopView } from "./model.ts";
import { formatView, screenLines } from "./screen.ts";
import { Terminal } from "./terminal.ts";

export interface TopWish {
  socket: string;
  delaySeconds: number;
  /** How often to show something; undefined: until the user has seen enough. */
  times: number | undefined;
  flows: number;
  order: Order;
}

async function sample({ socket, delaySeconds, flows }: TopWish, order: Order): Promise<TopSample> {
  return ask<TopSample>(socket, "GET", `/v1/top?flows=${flows}&order=${order}&seconds=${delaySeconds}`);
}

/** One view after the other, as text or as JSON, a line each. */
export async function topInBatches(wish: TopWish, asJson: boolean, print: (text: string) => void): Promise<void> {
  let before = await sample(wish, wish.order);
  for (let shown = 0; wish.times === undefined || shown < wish.times; shown++) {
    await new Promise((resolve) => setTimeout(resolve, wish.delaySeconds * 1000));
    const after = await sample(wish, wish.order);
    const view = compareSamples(before, after);
    if (asJson) print(JSON.stringify(view));
    else print(`${shown === 0 ? "" : "\n"}${formatView(view)}`);
    before = after;
  }
}

/** Until `q`, Ctrl-C, a signal, or the router's end (then it throws); the terminal is given back first. */
export async function topOnTerminal(wish: TopWish): Promise<void> {
  const terminal = new Terminal(process.stdin, process.stdout);
  const live = new LiveTop(wish, terminal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, live.finish);
  try {
    await live.run();
  } finally {
    terminal.leave();
    for (const signal of signals) process.off(signal, live.finish);
  }
}

class LiveTop {
  private readonly wish: TopWish;
  private readonly terminal: Terminal;
  private order: Order;
  private isPaused = false;
  private isOver = false;
  private view: TopView | undefined;
  /** Ends the wait for the next sample. */
  private wake: () => void = () => {};
  readonly finish = (): void => {
    this.isOver = true;
    this.wake();
  };

  constructor(wish: TopWish, terminal: Terminal) {
    this.wish = wish;
    this.terminal = terminal;
    this.order = wish.order;
  }

  async run(): Promise<void> {
    let before = await sample(this.wish, this.order);
    this.terminal.enter(
      (key) => this.press(key),
      () => this.draw(),
    );
    this.draw(compareSamples(before, before));
    // The first rates come soon; they are of a short time.
    await this.pause(Math.min(0.5, this.wish.delaySeconds));
    for (let shown = 0; !this.isOver && (this.wish.times === undefined || shown < this.wish.times); ) {
      if (!this.isPaused) {
        const after = await sample(this.wish, this.order);
        if (!this.isPaused) this.draw(compareSamples(before, after));
        before = after;
        shown++;
      }
      if (!this.isOver) await this.pause(this.wish.delaySeconds);
    }
  }

  private press(key: string): void {
    if (key === "q" || key === "\x03" || key === "\x04") this.finish();
    else if (key === "p" || key === " ") this.isPaused = !this.isPaused;
    else if (key === "s") this.order = this.order === "packets" ? "bytes" : "packets";
    else return;
    this.draw();
  }

  private draw(view: TopView | undefined = this.view): void {
    this.view = view;
    if (view === undefined || this.isOver) return;
    const { order, isPaused } = this;
    this.terminal.draw(
      screenLines(view, this.terminal.room, { order, delaySeconds: this.wish.delaySeconds, isPaused }),
    );
  }

  private pause(seconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
