import { expect, it } from "vitest";

const sources = import.meta.glob("../src/**/*", { query: "?raw", import: "default", eager: true }) as Record<
  string,
  string
>;

it.each([
  "innerHTML",
  "outerHTML",
  "insertAdjacentHTML",
  "document.write",
  "eval(",
  "new Function",
  "https://",
  "http://",
  "@import",
  "url(",
])("no source has %s: text stays text, and no other host is asked", (forbidden) => {
  expect(Object.keys(sources).length).toBeGreaterThan(10);
  const found = Object.entries(sources).filter(([, text]) => text.includes(forbidden));
  expect(found.map(([name]) => name)).toEqual([]);
});
