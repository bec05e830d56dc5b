/** Draws a fleet's timeline with uPlot: placed executors stacked by pool, seats as lines, periods shaded, events marked. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Fleet } from "./contract";
import { colorOf } from "./facts";
import { seconds } from "./format";
import { poolsOf } from "./headline";
import { timeZone } from "./theme";
import { spans, stacked } from "./timeline";

const HEIGHT = 260;
const PERIODS = ["fallback", "breaker", "outage"];
const stepped = uPlot.paths.stepped?.({ align: 1 });

type Colors = (name: string) => string;

function colorsOf(element: HTMLElement): Colors {
  const style = getComputedStyle(element);
  return (name) => style.getPropertyValue(`--${name}`).trim() || "gray";
}

/** How many lines and areas there are, and which: when this changes, the plot is made anew. */
export const shapeOf = (fleet: Fleet): string => JSON.stringify(poolsOf(fleet));

function dataOf(fleet: Fleet): uPlot.AlignedData {
  const { at, placed, seats } = fleet.timeline;
  const pools = poolsOf(fleet);
  const spot = pools.filter((pool) => fleet.pools[pool]?.capacity_type === "spot");
  const lines = stacked(seats, pools, at.length);
  const some = lines[spot.length - 1] ?? at.map(() => 0);
  const all = lines[lines.length - 1] ?? at.map(() => 0);
  return [at, ...stacked(placed, pools, at.length), some, all];
}

export class Plot {
  private readonly plot: uPlot;
  private readonly color: Colors;
  private readonly sizes: ResizeObserver;

  constructor(
    element: HTMLElement,
    private fleet: Fleet,
    pointed: (at: number | null) => void,
  ) {
    this.color = colorsOf(element);
    const pools = poolsOf(fleet);
    const colors = pools.map((pool, i) => this.color(colorOf(fleet, pool, i)));
    const area = (stroke: string, i: number): uPlot.Series => ({
      stroke,
      width: 1,
      points: { show: false },
      ...(stepped && { paths: stepped }),
      ...(i === 0 && { fill: `${stroke}55` }),
    });
    const line = (dash: number[]): uPlot.Series => ({
      stroke: this.color("text"),
      width: 1.5,
      dash,
      points: { show: false },
      ...(stepped && { paths: stepped }),
    });
    const axis: uPlot.Axis = {
      stroke: this.color("muted"),
      grid: { stroke: this.color("line"), width: 1 },
      ticks: { show: false },
      font: "12px Roboto, Helvetica, Arial, sans-serif",
    };
    const zone = timeZone();
    this.plot = new uPlot(
      {
        width: element.clientWidth || 600,
        height: HEIGHT,
        legend: { show: false },
        padding: [22, 24, 0, 0],
        cursor: { drag: { x: false, y: false }, points: { show: false } },
        ...(zone && { tzDate: (at: number) => uPlot.tzDate(new Date(at * 1000), zone) }),
        scales: { y: { range: (_, __, max) => [0, Math.max(1, max) * 1.12] } },
        axes: [
          {
            ...axis,
            size: 28,
            space: 90,
            values: (_, splits, __, ___, step) => splits.map((at) => label(at, step, zone)),
          },
          { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
        ],
        series: [{}, ...colors.map(area), line([6, 4]), line([2, 3])],
        bands: colors.slice(1).map((color, i) => ({ series: [i + 2, i + 1] as uPlot.Band.Bounds, fill: `${color}55` })),
        hooks: {
          drawClear: [(plot) => this.shade(plot)],
          draw: [(plot) => this.mark(plot)],
          setCursor: [({ cursor, posToVal }) => pointed(cursor.idx == null ? null : posToVal(cursor.left ?? 0, "x"))],
        },
      },
      dataOf(fleet),
      element,
    );
    this.sizes = new ResizeObserver(() => {
      if (element.clientWidth) this.plot.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    this.sizes.observe(element);
  }

  show(fleet: Fleet): void {
    this.fleet = fleet;
    this.plot.setData(dataOf(fleet));
  }

  destroy(): void {
    this.sizes.disconnect();
    this.plot.destroy();
  }

  private shade({ ctx, bbox, valToPos }: uPlot): void {
    ctx.save();
    for (const { kind, from, to } of spans(this.fleet)) {
      const left = Math.max(bbox.left, valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, valToPos(to, "x", true));
      if (right < left) continue;
      const width = Math.max(2, right - left);
      const bar = 4 * devicePixelRatio;
      ctx.fillStyle = this.color(`period-${kind}`);
      ctx.globalAlpha = 0.15;
      ctx.fillRect(left, bbox.top, width, bbox.height);
      // Above the plot, where no area changes its colour: a bar for each kind, in a row of its own.
      ctx.globalAlpha = 1;
      ctx.fillRect(left, bbox.top - bar * (1.5 + 1.5 * Math.max(0, PERIODS.indexOf(kind))), width, bar);
    }
    ctx.restore();
  }

  /** Events, along the upper edge: each kind has a shape of its own, not only a colour. */
  private mark({ ctx, bbox, valToPos }: uPlot): void {
    const size = 5 * devicePixelRatio;
    ctx.save();
    ctx.setLineDash([]);
    ctx.lineWidth = 2 * devicePixelRatio;
    for (const { kind, at } of this.fleet.events) {
      const x = valToPos(seconds(at), "x", true);
      const row = { notice: 0, loss: 1, replacement: 2 }[kind];
      if (row === undefined || x < bbox.left || x > bbox.left + bbox.width) continue;
      const y = bbox.top + size * (1.5 + row * 2.4);
      ctx.strokeStyle = ctx.fillStyle = this.color(`event-${kind}`);
      ctx.beginPath();
      if (kind === "notice") {
        ctx.moveTo(x, y - size);
        ctx.lineTo(x + size, y + size);
        ctx.lineTo(x - size, y + size);
        ctx.fill();
      } else if (kind === "loss") {
        ctx.moveTo(x - size, y - size);
        ctx.lineTo(x + size, y + size);
        ctx.moveTo(x + size, y - size);
        ctx.lineTo(x - size, y + size);
        ctx.stroke();
      } else {
        ctx.arc(x, y, size, 0, 2 * Math.PI);
        ctx.fill();
      }
    }
    ctx.restore();
  }
}

function label(at: number, step: number, zone: string | undefined): string {
  const parts: Intl.DateTimeFormatOptions =
    step >= 86400
      ? { month: "short", day: "numeric" }
      : { hour: "2-digit", minute: "2-digit", ...(step < 60 && { second: "2-digit" }) };
  const format = new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...parts, ...(zone && { timeZone: zone }) });
  return format.format(at * 1000);
}
