/** The sentence that says it all: what the fleet is doing, whether as asked, and what spot has cost or saved. Pure. */
import type { Fleet, Period } from "./contract";
import { between, byPool, count, duration, listed, many, money, share, sum } from "./format";

export type Tone = "good" | "bad" | "warn" | "busy" | "idle";

/** Pools in the order of the chart and of every table: spot first. */
export function poolsOf(fleet: Fleet): string[] {
  const known = Object.keys(fleet.pools);
  const isSpot = (pool: string) => fleet.pools[pool]?.capacity_type === "spot";
  const others = [...new Set([...Object.keys(fleet.placed), ...Object.keys(fleet.ledger)])].filter(
    (pool) => !known.includes(pool),
  );
  return [...known.filter(isSpot), ...known.filter((pool) => !isSpot(pool)), ...others];
}

export const isOver = (state: string): boolean => ["succeeded", "failed", "killed"].includes(state);

export const openPeriods = (fleet: Fleet): Period[] => fleet.periods.filter((period) => period.until === null);

export function toneOf(fleet: Fleet): Tone {
  const { state, in_fallback } = fleet.summary;
  if (state === "succeeded") return "good";
  if (state === "failed" || state === "killed") return "bad";
  if (state === "submitted") return "idle";
  const isOpen = Object.values(fleet.breaker).some((breaker) => breaker.state !== "closed");
  return in_fallback || isOpen || openPeriods(fleet).length ? "warn" : "busy";
}

/** What is worth being read out when it changes: a sentence or two. */
export function news(fleet: Fleet): string[] {
  const { state } = fleet.summary;
  if (isOver(state)) return ending(fleet);
  if (state === "submitted" && !sum(fleet.placed)) return beginning(fleet);
  return [...present(fleet), ...trouble(fleet)];
}

function beginning(fleet: Fleet): string[] {
  const target = byPool(fleet.target, poolsOf(fleet));
  return ["Submitted; no executor is placed yet.", ...(target ? [`The mix asks for ${target}.`] : [])];
}

function present(fleet: Fleet): string[] {
  const pools = poolsOf(fleet);
  const placed = sum(fleet.placed);
  if (!placed) return ["Running, without executors at this moment."];
  const where = byPool(fleet.placed, pools);
  const isAsAsked = pools.every((pool) => (fleet.placed[pool] ?? 0) === (fleet.target[pool] ?? 0));
  const wait = fleet.waiting ? `, ${count(fleet.waiting)} waiting` : "";
  const mix = isAsAsked ? ", as the mix asks" : "";
  return [`Running: ${many(placed, "executor")}, ${where}${mix}${wait}.`];
}

/** Why the placed mix is not what was asked for. */
function trouble(fleet: Fleet): string[] {
  const said: string[] = [];
  const open = openPeriods(fleet);
  const fallbacks = open.filter((period) => period.kind === "fallback");
  if (fleet.summary.in_fallback || fallbacks.length) {
    const away = sum(
      Object.fromEntries(
        Object.keys(fleet.pools).map((pool) => [
          pool,
          Math.max(0, (fleet.seats[pool] ?? 0) - (fleet.placed[pool] ?? 0)),
        ]),
      ),
    );
    const why = [...new Set(fallbacks.map((period) => period.why).filter(Boolean))];
    const seats = away
      ? `${many(away, "spot seat")} on ${fleet.fallback_pool}`
      : `spot seats on ${fleet.fallback_pool}`;
    said.push(`In fallback: ${seats}${why.length ? ` (${listed(why)})` : ""}.`);
  }
  for (const [pool, breaker] of Object.entries(fleet.breaker)) {
    if (breaker.state !== "closed") said.push(`The breaker of ${pool} is ${breaker.state}.`);
  }
  if (open.some((period) => period.kind === "outage")) said.push("Nobody looks after the fleet at this moment.");
  return said;
}

function ending(fleet: Fleet): string[] {
  const { state, started_at, ended_at, interruptions, replacements } = fleet.summary;
  const took = between(started_at, ended_at);
  const word = { succeeded: "Succeeded", failed: "Failed", killed: "Killed" }[state] ?? state;
  const message = state === "succeeded" || !fleet.message ? "" : `: ${fleet.message.replace(/\.$/, "")}`;
  const first = `${word}${took === null ? "" : ` after ${duration(took)}`}${message}.`;
  if (!interruptions) return [first, "No interruption."];
  return [first, `${many(interruptions, "interruption")}, ${many(replacements, "replacement")}.`];
}

/** What spot saved: one sentence, which changes all the time while the fleet runs; empty without prices or costs. */
export function saving(fleet: Fleet): string {
  const { state, saved, all_on_demand, currency, estimated } = fleet.summary;
  if (saved === null || !Number(all_on_demand)) return "";
  const when = `${isOver(state) ? "" : " so far"}${estimated ? " about" : ""}`;
  if (Number(saved) < 0) return `Spot cost${when} ${money(saved.replace("-", ""), currency)} more than on-demand.`;
  return `Spot saved${when} ${money(saved, currency)} (${share(saved, all_on_demand)}).`;
}
