/** A fleet's life as columns: what the chart draws and the table says. Pure. */
import type { Fleet } from "./contract";
import { seconds } from "./format";

/** Running sums over the pools: the edges of a stack. `edges[i][t]` is the top of the pool i. */
export function stacked(columns: Record<string, number[]>, pools: string[], points: number): number[][] {
  const edges: number[][] = [];
  let below: number[] = new Array(points).fill(0);
  for (const pool of pools) {
    below = below.map((value, i) => value + (columns[pool]?.[i] ?? 0));
    edges.push(below);
  }
  return edges;
}

/** Which point of a timeline holds at a time: the last that is not later. -1: none yet. */
export function pointAt(at: number[], time: number): number {
  return at.findLastIndex((each) => each <= time);
}

export interface Span {
  kind: string;
  from: number;
  to: number;
}

/** Periods as times; one that goes on ends where the timeline does. */
export function spans(fleet: Fleet): Span[] {
  const { at } = fleet.timeline;
  const end = at[at.length - 1] ?? 0;
  return fleet.periods.map(({ kind, since, until }) => ({
    kind,
    from: seconds(since),
    to: until ? seconds(until) : end,
  }));
}

export interface Step {
  at: number;
  placed: number[];
  seats: number[];
  running: number;
  what: string[];
}

/** The rows of the table: each step, newest first, with the periods that it is in and the events since the one before. */
export function steps(fleet: Fleet, pools: string[]): Step[] {
  const { at, placed, seats, running } = fleet.timeline;
  const times = spans(fleet);
  const happened = fleet.events.map((event) => ({ at: seconds(event.at), kind: event.kind }));
  const rows = at.map((time, i) => {
    const next = at[i + 1] ?? Number.POSITIVE_INFINITY;
    const first = i ? time : 0;
    const kinds = happened.filter((event) => event.at >= first && event.at < next).map((event) => event.kind);
    const inside = times.filter((span) => span.from < next && span.to >= time && next > time).map((span) => span.kind);
    return {
      at: time,
      placed: pools.map((pool) => placed[pool]?.[i] ?? 0),
      seats: pools.map((pool) => seats[pool]?.[i] ?? 0),
      running: pools.reduce((all, pool) => all + (running[pool]?.[i] ?? 0), 0),
      what: [...tally(kinds), ...new Set(inside.map((kind) => `in ${kind}`))],
    };
  });
  return rows.reverse();
}

function tally(kinds: string[]): string[] {
  return [...new Set(kinds)].map((kind) => {
    const all = kinds.filter((each) => each === kind).length;
    return all > 1 ? `${kind} ×${all}` : kind;
  });
}
