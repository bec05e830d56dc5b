import { describe, expect, it } from "vitest";
import { dataOf, pageOf, parameters, placeOf, safe } from "../src/place";

const task = (search: string) => placeOf("/base/spotmix/ui/task", `?dag_id=d&run_id=r&task_id=t${search}`);

describe("where the page is", () => {
  it("is said by the last part of the path and the query, below any base path", () => {
    expect(task("&map_index=3")).toEqual({ view: "task", dag: "d", run: "r", task: "t", map: 3 });
    expect(placeOf("/spotmix/ui/run", "?dag_id=d&run_id=r")).toEqual({ view: "run", dag: "d", run: "r" });
    expect(placeOf("/spotmix/ui/fleets/", "")).toEqual({ view: "fleets" });
  });

  it.each(["", "&map_index=", "&map_index=-1", "&map_index={MAP_INDEX}"])("is no mapped task with '%s'", (search) => {
    expect(task(search)).toMatchObject({ map: -1 });
  });

  it("is nowhere without the ids", () => {
    expect(placeOf("/spotmix/ui/task", "?dag_id=d")).toBeNull();
    expect(placeOf("/spotmix/ui/other", "")).toBeNull();
  });

  it("keeps a plus, which Airflow 3.1 does not encode, and a percent sign that encodes nothing", () => {
    const run_id = "manual__2027-01-15T08:00:00+00:00";
    expect(parameters(`?run_id=${run_id}&dag_id=100%`)).toEqual({ run_id, dag_id: "100%" });
    expect(parameters(`?run_id=${encodeURIComponent(run_id)}`)).toEqual({ run_id });
  });
});

describe("addresses", () => {
  it("encode what ids may hold", () => {
    const place = { view: "task", dag: "a/b", run: "r+1", task: "x?&#", map: -1 } as const;
    expect(dataOf(place)).toBe("../api/v1/dags/a%2Fb/runs/r%2B1/tasks/x%3F%26%23/-1");
    expect(placeOf("/ui/task", `?${pageOf(place).split("?")[1]}`)).toEqual(place);
  });

  it.each(["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "http://[", ""])(
    "are not followed: %s",
    (url) => expect(safe(url)).toBeUndefined(),
  );

  it("are followed with http, https and within Airflow", () => {
    expect(safe("https://history.example.com/x")).toBe("https://history.example.com/x");
    expect(safe("/dags/etl")).toMatch(/^https?:.*\/dags\/etl$/);
  });
});
