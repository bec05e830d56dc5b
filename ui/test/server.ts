/** Answers requests in place of Airflow: the only thing that the tests of the page make up. */
import { afterEach, vi } from "vitest";

export interface Asked {
  url: string;
  etag: string | null;
}

/** Answer with what `next` says: a body, a status, or "lost" for a connection that fails. Returns what was asked for. */
export function serve(next: (asked: Asked) => unknown): Asked[] {
  const asked: Asked[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    const request = { url, etag: new Headers(init.headers).get("If-None-Match") };
    asked.push(request);
    const answer = next(request);
    if (answer === "lost") throw new TypeError("connection lost");
    if (typeof answer === "number") {
      return new Response(answer === 304 ? null : JSON.stringify({ detail: "for a reason" }), { status: answer });
    }
    return new Response(JSON.stringify(answer), { headers: { ETag: '"1"' } });
  });
  return asked;
}

afterEach(() => vi.unstubAllGlobals());
