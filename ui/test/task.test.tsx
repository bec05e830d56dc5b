import { act, fireEvent, render, screen, within } from "@testing-library/preact";
import axe from "axe-core";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Page } from "../src/page";
import type { Place } from "../src/place";
import { fallback, fleets, hostile, nothing, run, running, submitted, succeeded } from "./answers";
import { serve } from "./server";

const task: Place = { view: "task", dag: "d", run: "r", task: "t", map: -1 };

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  history.replaceState(null, "", "/");
});

async function shown(place: Place, answer: unknown): Promise<Element> {
  serve(() => answer);
  const { container } = render(<Page place={place} />);
  await pass(0);
  return container;
}

const pass = (ms: number) =>
  act(async () => {
    await vi.advanceTimersByTimeAsync(ms);
  });

describe("a task's fleet", () => {
  it("is understood from its headline and tiles", async () => {
    await shown(task, fallback);
    expect(screen.getByTestId("headline").textContent).toContain("In fallback: 1 spot seat on on-demand");
    expect(screen.getByTestId("state").dataset.state).toBe("running");
    expect(screen.getByTestId("tile-interruptions").textContent).toBe("Interruptions11 replaced");
    expect(screen.getByTestId("tile-saved").textContent).toContain("2.35 USD");
    expect(screen.getByTestId("count-overhead").textContent).toContain("14 tasks done again (about 7 min");
  });

  it("has target, seats, placed and running by pool", async () => {
    await shown(task, fallback);
    const rows = screen
      .getAllByTestId("mix-pool")
      .map((row) => [...row.querySelectorAll("th,td")].map((cell) => cell.textContent?.trim()));
    expect(rows).toEqual([
      ["spot", "spot", "2", "2", "1", "1"],
      ["on-demand", "on-demand", "3", "3", "4", "4"],
    ]);
  });

  it("tells its events newest first, and of one kind if asked", async () => {
    await shown(task, fallback);
    const kinds = () =>
      within(screen.getByTestId("events"))
        .getAllByRole("listitem")
        .map((item) => item.dataset.kind);
    expect(kinds()).toEqual(["replacement", "loss", "notice"]);
    fireEvent.change(screen.getByLabelText(/Show/), { target: { value: "loss" } });
    expect(kinds()).toEqual(["loss"]);
  });

  it("has its timeline as a table, too", async () => {
    await shown(task, fallback);
    const details = screen.getByTestId("timeline-table") as HTMLDetailsElement;
    details.open = true;
    fireEvent(details, new Event("toggle"));
    await pass(0);
    const rows = within(details)
      .getAllByRole("row")
      .map((row) => row.textContent);
    expect(rows).toHaveLength(1 + (fallback.fleet?.timeline.at.length ?? 0));
    expect(rows.some((row) => row?.includes("loss"))).toBe(true);
    expect(rows[1]).toContain("in fallback");
  });

  it("ends with its report", async () => {
    await shown(task, succeeded);
    const report = screen.getByTestId("report").textContent;
    expect(report).toContain("all applications succeeded");
    expect(report).toContain("spot-interruption");
    expect(screen.queryByTestId("tile-executors")).toBeNull();
  });
});

describe("where nothing around the page says which fleet it is", () => {
  const links = () =>
    screen
      .getAllByRole("link")
      .slice(0, 2)
      .map((link) => link.getAttribute("href"));

  it("says so itself, with the way to the others", async () => {
    await shown(task, fallback);
    expect(screen.getByRole("navigation").textContent).toBe("All fleets/ d /r /t");
    expect(links()).toEqual(["fleets", "run?dag_id=d&run_id=r"]);
  });

  it("leads back to the list as it was", async () => {
    const list = "http://localhost/base/spotmix/ui/fleets?q=etl&offset=50";
    vi.spyOn(document, "referrer", "get").mockReturnValue(list);
    await shown(task, fallback);
    expect(links()[0]).toBe(list);
    vi.restoreAllMocks();
  });

  it("but a tab of Airflow does", async () => {
    vi.spyOn(window, "top", "get").mockReturnValue({} as Window);
    await shown(task, fallback);
    expect(screen.queryByRole("navigation")).toBeNull();
    vi.restoreAllMocks();
  });
});

describe("what somebody else has written", () => {
  it("stays text, and its links lead nowhere", async () => {
    const page = await shown(task, hostile);
    expect(page.textContent).toContain("<img src=x onerror=alert(1)>");
    expect(page.querySelectorAll("img, script, iframe")).toHaveLength(0);
    expect([...page.querySelectorAll("a")].map((link) => link.protocol)).not.toContain("javascript:");
  });
});

it("what cannot be read is said, and does not leave an empty page", async () => {
  const error = vi.spyOn(console, "error").mockImplementation(() => {});
  await shown(task, { ...running, fleet: { summary: { state: "running" } } });
  expect(screen.getByTestId("state-unreadable").textContent).toContain("cannot be shown");
  error.mockRestore();
});

describe("without a fleet", () => {
  it.each([
    ["empty", nothing],
    ["not-a-fleet", { ...nothing, why_empty: "not a fleet task" }],
    ["signed-out", 401],
    ["forbidden", 403],
    ["not-found", 404],
    ["error", 500],
    ["error", "lost"],
  ])("it says why: %s", async (name, answer) => {
    await shown(task, answer);
    expect(screen.getByTestId(`state-${name}`).textContent).not.toBe("");
    expect(screen.queryByTestId("headline")).toBeNull();
  });
});

describe("live", () => {
  it("follows without a reload, and asks only for what is new", async () => {
    let answer: unknown = submitted;
    const asked = serve(() => answer);
    render(<Page place={task} />);
    await pass(0);
    expect(screen.getByTestId("headline").textContent).toContain("Submitted");
    answer = running;
    await pass(2000);
    expect(screen.getByTestId("headline").textContent).toContain("Running: 5 executors");
    answer = 304;
    await pass(2000);
    expect(screen.getByTestId("headline").textContent).toContain("Running: 5 executors");
    expect(asked.map((each) => each.etag)).toEqual([null, '"1"', '"1"']);
  });

  it("asks rarely once it is over", async () => {
    const asked = serve(() => succeeded);
    render(<Page place={task} />);
    await pass(59_000);
    expect(asked).toHaveLength(1);
    await pass(2000);
    expect(asked).toHaveLength(2);
  });

  it("says that the connection is lost, keeps what it has, and goes on when it is back", async () => {
    let answer: unknown = running;
    serve(() => answer);
    render(<Page place={task} />);
    await pass(0);
    answer = "lost";
    await pass(2000);
    expect(screen.getByTestId("connection").textContent).toContain("Connection lost, trying again");
    expect(screen.getByTestId("headline").textContent).toContain("Running");
    answer = fallback;
    await pass(4000);
    expect(screen.getByTestId("connection").textContent).toBe("");
    expect(screen.getByTestId("headline").textContent).toContain("In fallback");
  });

  it("shows nothing any more to who has lost the right to see it, or is signed out", async () => {
    let answer: unknown = running;
    serve(() => answer);
    const { container } = render(<Page place={task} />);
    await pass(0);
    answer = 401;
    await pass(2000);
    expect(screen.getByTestId("state-signed-out")).toBeTruthy();
    expect(container.textContent).not.toContain("executors");
  });
});

describe("a run", () => {
  it("lists its fleets, each with a link to its task", async () => {
    await shown({ view: "run", dag: "etl", run: "r" }, run);
    const links = screen.getAllByTestId("fleet-row").map((row) => row.querySelector("a")?.getAttribute("href"));
    expect(links).toHaveLength(4);
    expect(links[0]).toBe(
      "task?dag_id=etl&run_id=manual__2027-01-15T08%3A00%3A00%2B00%3A00&task_id=submitted&map_index=-1",
    );
  });

  it("with one fleet is that fleet", async () => {
    serve(({ url }) => (url.endsWith("/fleets") ? { fleets: run.fleets.slice(1, 2) } : running));
    render(<Page place={{ view: "run", dag: "etl", run: "r" }} />);
    await pass(0);
    await pass(0);
    expect(screen.getByTestId("headline").textContent).toContain("Running: 5 executors");
  });
});

describe("all fleets", () => {
  it("are filtered, sorted and paged by the server", async () => {
    const asked = serve(() => fleets);
    render(<Page place={{ view: "fleets" }} />);
    await pass(0);
    expect(screen.getByTestId("totals").textContent).toContain("7.12 USD");
    expect(screen.getAllByTestId("fleet-row")).toHaveLength(4);
    fireEvent.click(screen.getByRole("button", { name: "Saved" }));
    await pass(0);
    expect(screen.getByRole("columnheader", { name: /Saved/ }).getAttribute("aria-sort")).toBe("descending");
    fireEvent.change(screen.getByLabelText(/Show/), { target: { value: "running" } });
    await pass(0);
    fireEvent.input(screen.getByRole("searchbox"), { target: { value: "a&b" } });
    await pass(300);
    fireEvent.click(screen.getByRole("button", { name: "Next" }));
    await pass(0);
    expect(asked[asked.length - 1]?.url).toBe(
      "../api/v1/fleets?state=running&q=a%26b&order_by=-saved&offset=50&limit=50",
    );
  });

  it("may be none", async () => {
    await shown({ view: "fleets" }, { fleets: [], total: 0, totals: [] });
    expect(screen.getByTestId("state-empty").textContent).toContain("No fleet yet");
  });
});

it.each([
  ["task", task, fallback],
  ["ended task", task, succeeded],
  ["run", { view: "run", dag: "etl", run: "r" } as Place, run],
  ["fleets", { view: "fleets" } as Place, fleets],
  ["nothing", task, nothing],
])("nothing stands in a person's way: %s", async (_, place, answer) => {
  const page = await shown(place, answer);
  vi.useRealTimers();
  const { violations } = await axe.run(page, {
    rules: { "color-contrast": { enabled: false }, region: { enabled: false } },
  });
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`)).toEqual([]);
});
