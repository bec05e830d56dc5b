/** Ask for data again and again: often while there is something to see, rarely otherwise, and go on when it fails. */
import { useEffect, useState } from "preact/hooks";

export interface Answer<T> {
  data: T | null;
  /** Why there is no data, or why it may be old: an HTTP status, 0 without an answer. */
  error: { status: number; detail: string } | null;
}

const LIVE = 2_000;
const RARE = 30_000;
const ENDED = 60_000;
const TIMEOUT = 15_000;
/** What is so until somebody does something about it. What was shown before is then no longer. */
const REFUSED = [401, 403, 404, 422];

interface Loaded<T> extends Answer<T> {
  etag: string | null;
  failures: number;
}

/** How long to wait before asking again. */
export function pause(
  of: { failures: number; error: Answer<unknown>["error"]; isLive: boolean },
  isHidden: boolean,
): number {
  if (of.error && REFUSED.includes(of.error.status)) return RARE;
  if (of.failures) return Math.min(RARE, LIVE * 2 ** (of.failures - 1));
  if (!of.isLive) return ENDED;
  return isHidden ? RARE : LIVE;
}

async function detailOf(response: Response): Promise<string> {
  try {
    const { detail } = (await response.json()) as { detail?: unknown };
    return typeof detail === "string" ? detail : "";
  } catch {
    return "";
  }
}

async function load<T>(url: string, last: Loaded<T>, stop: AbortSignal): Promise<Loaded<T>> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (last.etag && last.data) headers["If-None-Match"] = last.etag;
  try {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(TIMEOUT)]);
    const response = await fetch(url, { headers, signal, cache: "no-store", credentials: "same-origin" });
    if (response.status === 304) return { ...last, error: null, failures: 0 };
    if (!response.ok) {
      const error = { status: response.status, detail: await detailOf(response) };
      const isRefused = REFUSED.includes(response.status);
      return { data: isRefused ? null : last.data, etag: null, error, failures: last.failures + 1 };
    }
    return { data: (await response.json()) as T, etag: response.headers.get("ETag"), error: null, failures: 0 };
  } catch {
    return { ...last, error: { status: 0, detail: "" }, failures: last.failures + 1 };
  }
}

/** The data of an address, kept fresh. `isLive`: whether what it shows may still change soon. */
export function useData<T>(url: string, isLive: (data: T) => boolean): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ data: null, error: null });
  useEffect(() => {
    let last: Loaded<T> = { data: null, error: null, etag: null, failures: 0 };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = new AbortController();
    let isAsking = false;
    const ask = async () => {
      clearTimeout(timer);
      if (isAsking) return;
      isAsking = true;
      const next = await load(url, last, stop.signal);
      isAsking = false;
      if (stop.signal.aborted) return;
      if (next.data !== last.data || next.error?.status !== last.error?.status) setAnswer(next);
      last = next;
      const live = next.data ? isLive(next.data) : true;
      timer = setTimeout(ask, pause({ ...next, isLive: live }, document.hidden));
    };
    // Who comes back to the page, or is online again, does not wait.
    const again = () => void (document.hidden || ask());
    document.addEventListener("visibilitychange", again);
    addEventListener("online", again);
    addEventListener("storage", again); // among others, signed in elsewhere
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", again);
      removeEventListener("online", again);
      removeEventListener("storage", again);
    };
  }, [url]);
  return answer;
}
