import { describe, expect, it } from "vitest";
import type { Fleet, TaskAnswer } from "../src/contract";
import { news, poolsOf, saving, toneOf } from "../src/headline";
import { fallback, running, submitted, succeeded } from "./answers";

const fleetOf = ({ fleet }: TaskAnswer, change: Partial<Fleet> = {}): Fleet => {
  if (!fleet) throw new Error("no fleet");
  return { ...fleet, ...change };
};

const said = (fleet: Fleet) => [...news(fleet), saving(fleet)].join(" ").trim();

describe("the sentence", () => {
  it.each([
    ["submitted", submitted, "Submitted; no executor is placed yet. The mix asks for 2 on spot and 3 on on-demand."],
    [
      "running",
      running,
      "Running: 5 executors, 2 on spot and 3 on on-demand, as the mix asks. Spot saved so far 0.6667 USD (27 %).",
    ],
    [
      "in fallback",
      fallback,
      "Running: 5 executors, 1 on spot and 4 on on-demand. In fallback: 1 spot seat on on-demand (spot-interruption)." +
        " Spot saved so far 2.35 USD (24 %).",
    ],
    ["succeeded", succeeded, "Succeeded after 1 h. 1 interruption, 1 replacement. Spot saved 3.02 USD (20 %)."],
  ])("says what a fleet does that is %s", (_, answer, expected) => {
    expect(said(fleetOf(answer))).toBe(expected);
  });

  it("tells of an open breaker", () => {
    const breaker = { spot: { state: "open", since: null, why: "" } };
    expect(said(fleetOf(running, { breaker }))).toContain("The breaker of spot is open.");
  });

  it("says what failed, and that spot cost more", () => {
    const summary = {
      ...fleetOf(succeeded).summary,
      state: "failed",
      saved: "-0.5",
      all_on_demand: "10",
      estimated: true,
    };
    const sentence = said(fleetOf(succeeded, { summary, message: "driver failed." }));
    expect(sentence).toContain("Failed after 1 h: driver failed.");
    expect(sentence).toContain("Spot cost about 0.5000 USD more than on-demand.");
  });

  it("says nothing of costs without prices", () => {
    const summary = { ...fleetOf(running).summary, saved: null, total: null, all_on_demand: null, currency: null };
    expect(saving(fleetOf(running, { summary }))).toBe("");
  });
});

it("spot comes first, and pools that nobody knows come last", () => {
  const pools = { demand: { capacity_type: "on-demand" }, spot: { capacity_type: "spot" } };
  expect(poolsOf(fleetOf(running, { pools, placed: { odd: 1 }, ledger: {} }))).toEqual(["spot", "demand", "odd"]);
});

it("a fallback is a warning while it goes on", () => {
  expect([submitted, running, fallback, succeeded].map((answer) => toneOf(fleetOf(answer)))).toEqual([
    "idle",
    "busy",
    "warn",
    "good",
  ]);
});
