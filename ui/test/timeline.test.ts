import { expect, it } from "vitest";
import type { Fleet } from "../src/contract";
import { pointAt, spans, stacked, steps } from "../src/timeline";
import { fallback } from "./answers";

const fleet = fallback.fleet as Fleet;

it("areas lie one upon the other, and a pool without numbers has none", () => {
  expect(stacked({ a: [1, 2], b: [3, 4] }, ["a", "none", "b"], 2)).toEqual([
    [1, 2],
    [1, 2],
    [4, 6],
  ]);
});

it("a period that goes on ends where the timeline does", () => {
  const { at } = fleet.timeline;
  expect(spans(fleet)).toEqual([{ kind: "fallback", from: 1_800_001_840, to: at[at.length - 1] }]);
});

it("what holds at a time is what was last so", () => {
  expect([9, 10, 19, 20, 99].map((time) => pointAt([10, 20], time))).toEqual([-1, 0, 0, 1, 1]);
});

it("each step of the table says what happened until the next", () => {
  const said = steps(fleet, ["spot", "on-demand"]).map(({ placed, seats, running, what }) => [
    placed,
    seats,
    running,
    what,
  ]);
  expect(said.reverse()).toEqual([
    [[2, 3], [2, 3], 5, ["notice"]],
    [[1, 3], [2, 3], 4, ["loss"]],
    [[1, 4], [2, 3], 5, ["replacement", "in fallback"]],
    [[1, 4], [2, 3], 5, ["in fallback"]],
  ]);
});
