/** Plots are SVG that any browser reads, with every point where its value says. */
const { plot } = require('../../bench/plot.js') as { plot: (picture: object) => string };

interface Circle {
  readonly x: number;
  readonly y: number;
}

function circles(svg: string): Circle[] {
  return [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
}

describe('a plot', () => {
  it('puts powers of ten at equal distances on a logarithmic axis, and equal values at one height', () => {
    const svg = plot({ title: 't', x: { label: 'x', log: true, unit: 'bytes' }, y: { label: 'y', zero: true }, series: [{ name: 's', points: [[1e7, 5], [1e8, 5], [1e9, 5], [1e10, 5]] }] });
    const points = circles(svg).slice(0, 4);
    const steps = points.slice(1).map(({ x }, n) => x - points[n]!.x);
    expect(Math.max(...steps) - Math.min(...steps)).toBeLessThan(0.3);
    expect(new Set(points.map(({ y }) => y)).size).toBe(1);
    expect(svg).toContain('>10 MB<');
    expect(svg).toContain('>10 GB<');
  });

  it('has its zero at the foot of a linear axis', () => {
    const svg = plot({ title: 't', x: { label: 'x' }, y: { label: 'y', zero: true }, series: [{ name: 's', points: [[0, 0], [10, 100]] }] });
    const [low, high] = circles(svg);
    expect(low!.y).toBe(354);
    expect(high!.y).toBeLessThan(low!.y);
  });

  it('leaves out what a logarithm does not have, and survives nothing at all', () => {
    const axes = { x: { label: 'x', log: true }, y: { label: 'y', log: true } };
    for (const points of [[], [[0, 1], [1, 0], [2, 3]], [[5, 5]]]) {
      const svg = plot({ title: 't', ...axes, series: [{ name: 's', points }] });
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    }
  });

  it('is not broken by what stands in its texts', () => {
    const svg = plot({ title: 'a < b & "c"', x: { label: '<x>' }, y: { label: '&' }, series: [{ name: '</g>', points: [[1, 1]] }] });
    expect(svg).toContain('a &lt; b &amp; &quot;c&quot;');
    expect(svg).toContain('&lt;/g&gt;');
    expect((svg.match(/<g[ >]/g) ?? []).length).toBe((svg.match(/<\/g>/g) ?? []).length);
  });
});
