'use strict';
/**
 * Line plots as SVG text: linear or logarithmic axes, a legend beside, readable on light and dark pages.
 *
 *     plot({ title, note, x: { label, log, unit }, y: { label, log, unit, zero }, series: [{ name, points: [[x, y], …] }] })
 *
 * `unit` is `'bytes'` (10 MB), `'count'` (10 k) or nothing. A dashed series is a bound, not a measurement. Points with
 * three numbers, `[x, y, y2]`, draw a thin line from y to y2 (a percentile).
 */
const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 78;
const RIGHT = 190;
const TOP = 46;
const BOTTOM = 66;
/** Told apart also by those who see red and green alike (Okabe and Ito), dark enough for white, light enough for black. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#b8860b', '#56b4e9', '#7f7f7f'];
const MARKS = [
  (x, y) => `<circle cx="${x}" cy="${y}" r="3.5"/>`,
  (x, y) => `<rect x="${x - 3.2}" y="${y - 3.2}" width="6.4" height="6.4"/>`,
  (x, y) => `<path d="M${x} ${y - 4.4}L${x + 4.4} ${y + 3.4}H${x - 4.4}Z"/>`,
  (x, y) => `<path d="M${x} ${y - 4.6}L${x + 4.6} ${y}L${x} ${y + 4.6}L${x - 4.6} ${y}Z"/>`,
];

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const short = (value) => Number(value.toPrecision(12));
const at = (value) => Number(value.toFixed(1));

/** 1500000 → `1.5 MB`, `1.5 M`. */
function text(value, unit) {
  if (unit === undefined) return String(short(value));
  const steps = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];
  const [by, letter] = steps.find(([size]) => value >= size) ?? [1, ''];
  const number = String(short(value / by));
  if (unit === 'bytes') return `${number} ${letter}B`;
  return letter === '' ? number : `${number} ${letter}`;
}

/** Nice steps of 1, 2 or 5 times a power of ten, about `count` of them. */
function linearTicks(low, high, count) {
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) ticks.push(short(n * step));
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades <= 1.5 ? [1, 2, 5] : decades <= 3 ? [1, 3] : [1];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) {
      const tick = short(factor * 10 ** power);
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

function axis({ log = false, zero = false }, values, from, to) {
  const usable = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  let low = Math.min(...usable);
  let high = Math.max(...usable);
  if (usable.length === 0) [low, high] = log ? [1, 10] : [0, 1];
  if (log) {
    low /= 1.15;
    high *= 1.15;
    if (high / low < 3) [low, high] = [low / 1.7, high * 1.7];
  } else {
    if (zero) low = Math.min(0, low);
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    high += room;
    if (!zero) low -= room;
  }
  const scale = log ? Math.log10 : (value) => value;
  const place = (value) => at(from + ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (to - from));
  return { ticks: log ? logTicks(low, high) : linearTicks(low, high, 6), place };
}

function plot({ title, note = '', x, y, series }) {
  const points = series.flatMap((one) => one.points);
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  const across = axis(x, points.map(([value]) => value), LEFT, right);
  const up = axis(y, points.flatMap(([, ...values]) => values), bottom, TOP);
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" font-family="system-ui, sans-serif" font-size="13">`,
    `<title>${escape(title)}</title>`,
    '<style>svg{background:#fff}text{fill:#222}.faint{fill:#666}.grid{stroke:#ddd}.axis{stroke:#666}@media (prefers-color-scheme:dark){svg{background:#161616}text{fill:#ddd}.faint{fill:#999}.grid{stroke:#383838}.axis{stroke:#999}}</style>',
    `<text x="${LEFT}" y="26" font-size="16" font-weight="600">${escape(title)}</text>`,
  ];
  for (const tick of across.ticks) {
    const place = across.place(tick);
    out.push(`<line class="grid" x1="${place}" x2="${place}" y1="${TOP}" y2="${bottom}"/><text x="${place}" y="${bottom + 18}" text-anchor="middle">${escape(text(tick, x.unit))}</text>`);
  }
  for (const tick of up.ticks) {
    const place = up.place(tick);
    out.push(`<line class="grid" x1="${LEFT}" x2="${right}" y1="${place}" y2="${place}"/><text x="${LEFT - 8}" y="${place + 4}" text-anchor="end">${escape(text(tick, y.unit))}</text>`);
  }
  out.push(`<path class="axis" fill="none" d="M${LEFT} ${TOP}V${bottom}H${right}"/>`);
  out.push(`<text x="${(LEFT + right) / 2}" y="${bottom + 38}" text-anchor="middle">${escape(x.label)}</text>`);
  out.push(`<text transform="translate(18 ${(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">${escape(y.label)}</text>`);
  out.push(`<text class="faint" x="${LEFT}" y="${HEIGHT - 8}" font-size="11">${escape(note)}</text>`);
  series.forEach((one, index) => {
    const colour = COLOURS[index % COLOURS.length];
    const mark = MARKS[index % MARKS.length];
    const placed = one.points.filter(([px, py]) => (!x.log || px > 0) && (!y.log || py > 0)).map(([px, ...rest]) => [across.place(px), ...rest.map(up.place)]);
    const line = placed.map(([px, py], n) => `${n === 0 ? 'M' : 'L'}${px} ${py}`).join('');
    const whiskers = placed.filter((point) => point.length > 2).map(([px, py, py2]) => `<line x1="${px}" x2="${px}" y1="${py}" y2="${py2}" stroke-width="1"/>`).join('');
    const dash = one.dashed === true ? ' stroke-dasharray="6 4"' : '';
    out.push(`<g stroke="${colour}" fill="none" stroke-width="2"><path d="${line}"${dash}/>${whiskers}</g>`);
    if (one.dashed !== true) out.push(`<g fill="${colour}">${placed.map(([px, py]) => mark(px, py)).join('')}</g>`);
    const level = TOP + 10 + index * 22;
    out.push(`<g stroke="${colour}" stroke-width="2"><line x1="${right + 14}" x2="${right + 36}" y1="${level}" y2="${level}"${dash}/></g>${one.dashed === true ? '' : `<g fill="${colour}">${mark(right + 25, level)}</g>`}<text x="${right + 43}" y="${level + 4}">${escape(one.name)}</text>`);
  });
  out.push('</svg>');
  return `${out.join('\n')}\n`;
}

module.exports = { plot };
