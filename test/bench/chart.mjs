// Draws the comparison as an SVG picture: bars by ratio to one program, readable on light and dark.
import { toRatio } from "./table.mjs";

const BASE = "http-proxy";
const TITLE = `Calls and SSE events per CPU second, against ${BASE}`;
const FOOT =
  "Loopback, one core. Blue checks keys, limits and a budget, counts and logs; the others are as they come.";
const PANELS = [
  ["callsPerCpuSecond", "Small calls per CPU second"],
  ["eventsPerCpuSecond", "SSE events per CPU second"],
];
const WIDTH = 800;
const MARGIN = 24;
const LABELS_WIDTH = 262;
const VALUE_WIDTH = 64;
const BAR_WIDTH = WIDTH - 2 * MARGIN - LABELS_WIDTH - VALUE_WIDTH;
const ROW_HEIGHT = 26;
const BAR_HEIGHT = 16;
const TITLE_HEIGHT = 40;
const PANEL_GAP = 18;

const STYLE = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .note { font-size: 12px; font-weight: 400; fill: #59636e }
  .value { paint-order: stroke; stroke: #fff; stroke-width: 5px }
  .ours { font-weight: 600 }
  .paper { fill: #fff; stroke: #d1d9e0 }
  rect { fill: #afb8c1 }
  rect.ours { fill: #0969da }
  .base { stroke: #59636e; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note { fill: #9198a1 }
    .value { stroke: #0d1117 }
    .paper { fill: #0d1117; stroke: #3d444d }
    rect { fill: #565f6b }
    rect.ours { fill: #4493f8 }
    .base { stroke: #9198a1 }
  }`;

/** @returns the text of an SVG file; a metric that was not measured has no panel */
export function drawChart(results, programs) {
  const measured = PANELS.filter(([metric]) => results.median(BASE, metric) !== undefined);
  let top = MARGIN;
  const panels = measured.map(([metric, title]) => {
    const bars = programs
      .map((it) => ({ ...it, ratio: results.ratio(it.name, metric, BASE) }))
      .sort((one, other) => other.ratio - one.ratio);
    const panel = drawPanel(title, bars, top);
    top += TITLE_HEIGHT + bars.length * ROW_HEIGHT + PANEL_GAP;
    return panel;
  });
  const height = top + MARGIN;
  return `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${TITLE}"
  width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
<style>${STYLE}
</style>
<rect class="paper" x=".5" y=".5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
${panels.join("\n")}
<text class="note" x="${MARGIN}" y="${height - MARGIN + 4}">${FOOT}</text>
</svg>
`;
}

function drawPanel(title, bars, top) {
  const scale = BAR_WIDTH / Math.max(...bars.map(({ ratio }) => ratio));
  const left = MARGIN + LABELS_WIDTH;
  const firstRow = top + TITLE_HEIGHT;
  const rows = bars.map((bar, index) => drawBar(bar, left, firstRow + index * ROW_HEIGHT, scale));
  const baseAt = Math.round(left + scale);
  const bottom = firstRow + bars.length * ROW_HEIGHT - 6;
  return `<text class="title" x="${MARGIN}" y="${top + 14}">${title}<tspan class="note" dx="10">\
× ${BASE}, more is better</tspan></text>
<path class="base" d="M${baseAt} ${firstRow - 6}V${bottom}"/>
${rows.join("\n")}`;
}

function drawBar({ label, ratio, ours }, left, top, scale) {
  const kind = ours ? "ours" : "other";
  const width = Math.max(2, Math.round(ratio * scale));
  const [name, value] = [left - 10, left + width + 8];
  const baseline = top + 13;
  const text = label.replaceAll("`", "");
  return `<text class="${kind}" x="${name}" y="${baseline}" text-anchor="end">${text}</text>
<rect class="${kind}" x="${left}" y="${top}" width="${width}" height="${BAR_HEIGHT}" rx="2"/>
<text class="value ${kind}" x="${value}" y="${baseline}">${toRatio(ratio)}</text>`;
}
