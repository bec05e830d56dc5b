import { afterEach, expect, it } from "vitest";
import { clock, duration, money, share } from "../src/format";

afterEach(() => localStorage.clear());

it.each([
  ["12.3456", "USD", "12.35 USD"],
  ["0.0123", "EUR", "0.0123 EUR"],
  ["0.0000", "USD", "0.00 USD"],
  ["1234567.8", "USD", "1,234,567.80 USD"],
  [null, null, "–"],
  ["many", "USD", "–"],
])("money: %s %s", (amount, currency, shown) => expect(money(amount, currency)).toBe(shown));

it.each([
  [0, "0 s"],
  [59.6, "1 min"],
  [125, "2 min 5 s"],
  [1500, "25 min"],
  [7500, "2 h 5 min"],
  [90000, "1 d 1 h"],
])("duration: %d s", (seconds, shown) => expect(duration(seconds)).toBe(shown));

it("a share of nothing is not said", () => {
  expect([share("1", "4"), share("1", "0"), share(null, null)]).toEqual(["25 %", "", ""]);
});

it("times are in the zone that Airflow shows", () => {
  localStorage.setItem("timezone", '"Asia/Tokyo"');
  expect(clock("2027-01-15T08:00:00Z")).toBe("17:00:00");
  localStorage.setItem("timezone", "UTC");
  expect(clock(1_800_000_000)).toBe("08:00:00");
  localStorage.setItem("timezone", "Nowhere/Else");
  expect(clock("not a time")).toBe("not a time");
});
