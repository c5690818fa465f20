/** A drawing as text: no scripts, no fonts to fetch, readable on a white page and on a dark one. */

const COLOURS: Readonly<Record<string, string>> = {
  tapir: "#c2410c",
  "tapir-packet": "#f59e0b",
  "tapir-1000-rules": "#ea8a5c",
  "tapir-10000-rules": "#f5c1a5",
  "tapir-traced": "#c2410c",
  memory: "#c2410c",
  forwarder: "#334155",
  kernel: "#2563eb",
  "kernel-tuned": "#93c5fd",
  slirp4netns: "#15803d",
  pasta: "#84cc16",
  ovs: "#7e22ce",
  cable: "#a8a29e",
};
const OTHER_COLOUR = "#64748b";

export function colourOf(engine: string): string {
  return COLOURS[engine] ?? OTHER_COLOUR;
}

export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** Attributes by name; numbers to a tenth. */
export type Attributes = Readonly<Record<string, string | number>>;

export function element(name: string, attributes: Attributes, content?: string): string {
  const words = Object.entries(attributes).map(([key, value]) => {
    const shown = typeof value === "number" ? String(Math.round(value * 10) / 10) : escapeXml(value);
    return ` ${key}="${shown}"`;
  });
  const open = `<${name}${words.join("")}`;
  return content === undefined ? `${open}/>` : `${open}>${escapeXml(content)}</${name}>`;
}

export function text(x: number, y: number, words: string, more: Attributes = {}): string {
  return element("text", { x, y, "font-size": 12, ...more }, words);
}

export function line(x1: number, y1: number, x2: number, y2: number, stroke: string): string {
  return element("line", { x1, y1, x2, y2, stroke });
}

export function drawing(title: string, width: number, height: number, lines: readonly string[]): string {
  const open = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans, Helvetica, Arial, sans-serif">`;
  const background = '<rect width="100%" height="100%" fill="white"/>';
  const heading = text(8, 24, title, { "font-size": 16, "font-weight": "bold" });
  return [open, element("title", {}, title), background, heading, ...lines, "</svg>", ""].join("\n");
}
