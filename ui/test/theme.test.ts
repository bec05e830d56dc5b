import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { followTheme } from "../src/theme";

let system: { matches: boolean; changed: () => void };
const theme = () => document.documentElement.dataset.theme;

/** The system's own preference. */
beforeEach(() => {
  system = { matches: false, changed: () => {} };
  vi.stubGlobal("matchMedia", () => ({
    get matches() {
      return system.matches;
    },
    addEventListener: (_: string, changed: () => void) => {
      system.changed = changed;
    },
    removeEventListener: () => {},
  }));
});

afterEach(() => {
  vi.unstubAllGlobals();
  localStorage.clear();
});

it("is Airflow's, and changes with it", () => {
  localStorage.setItem("theme", "dark");
  const stop = followTheme();
  expect(theme()).toBe("dark");
  localStorage.setItem("theme", "light");
  dispatchEvent(new Event("storage"));
  expect(theme()).toBe("light");
  stop();
});

it.each([null, "system"])("is the system's where Airflow's is %s", (stored) => {
  if (stored) localStorage.setItem("theme", stored);
  const stop = followTheme();
  expect(theme()).toBe("light");
  system.matches = true;
  system.changed();
  expect(theme()).toBe("dark");
  stop();
});
