/** Where the page is, and where else there is to go. All addresses are relative: Airflow may be below any path. */

export interface TaskPlace {
  view: "task";
  dag: string;
  run: string;
  task: string;
  map: number;
}
export type Place = TaskPlace | { view: "run"; dag: string; run: string } | { view: "fleets" };

/** The parameters of a query. Not URLSearchParams: Airflow 3.1 puts ids there as they are, where "+" means a plus. */
export function parameters(search: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const part of search.replace(/^\?/, "").split("&")) {
    const [name = "", ...value] = part.split("=");
    if (name) found[decoded(name)] = decoded(value.join("="));
  }
  return found;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a percent sign that encodes nothing
  }
}

/** What a location shows; null: nothing that there is. */
export function placeOf(pathname: string, search: string): Place | null {
  const view = pathname.replace(/\/+$/, "").split("/").pop();
  const { dag_id: dag, run_id: run, task_id: task, map_index = "" } = parameters(search);
  if (view === "fleets") return { view };
  if (view === "run" && dag && run) return { view, dag, run };
  // A tab of a task that is not mapped says nothing, or what Airflow has not filled in.
  if (view === "task" && dag && run && task)
    return { view, dag, run, task, map: /^\d+$/.test(map_index) ? +map_index : -1 };
  return null;
}

/** The address of a page of ours, relative to any other of them. */
export function pageOf(place: Place): string {
  if (place.view === "fleets") return "fleets";
  const of = `dag_id=${encodeURIComponent(place.dag)}&run_id=${encodeURIComponent(place.run)}`;
  if (place.view === "run") return `run?${of}`;
  return `task?${of}&task_id=${encodeURIComponent(place.task)}&map_index=${place.map}`;
}

/** The address of a place's data. */
export function dataOf(place: Place, query = ""): string {
  const api = "../api/v1";
  if (place.view === "fleets") return `${api}/fleets${query}`;
  const run = `${api}/dags/${encodeURIComponent(place.dag)}/runs/${encodeURIComponent(place.run)}`;
  if (place.view === "run") return `${run}/fleets`;
  return `${run}/tasks/${encodeURIComponent(place.task)}/${place.map}`;
}

/** An address that may be followed: http or https, or within Airflow; undefined: none. Others make links, too. */
export function safe(url: string | null | undefined): string | undefined {
  if (!url) return undefined;
  try {
    const { protocol, href } = new URL(url, document.baseURI);
    return protocol === "http:" || protocol === "https:" ? href : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Follow a link out of the frame that Airflow shows the page in. Its sandbox lets neither a popup nor the frame's top be
 * navigated; a link of Airflow's own document, of the same origin, may do both.
 * Returns whether it was followed; if not, the browser may do what it does.
 */
export function leave(url: string, isElsewhere: boolean): boolean {
  if (window.top === window || !window.top) return false;
  try {
    const link = window.top.document.createElement("a");
    link.href = url;
    link.rel = "noopener noreferrer";
    if (isElsewhere) link.target = "_blank";
    link.click();
    return true;
  } catch {
    return false; // shown by somebody else
  }
}
