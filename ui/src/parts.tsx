/** Small parts that the views are made of. */
import type { ComponentChildren } from "preact";
import type { Answer } from "./api";
import { day } from "./format";
import { leave, type Place, pageOf, safe } from "./place";

export function Badge({ kind, children }: { kind: string; children: ComponentChildren }) {
  return <span class={`badge ${/^[\w-]+$/.test(kind) ? kind : ""}`}>{children}</span>;
}

export function Time({ at, show = day }: { at: string | null | undefined; show?: (at: string) => string }) {
  return at ? (
    <time dateTime={at} title={day(at)}>
      {show(at)}
    </time>
  ) : (
    <>–</>
  );
}

/** A link out of the page: to Airflow, in its place, or elsewhere, in a new tab. Nothing where it may not be followed. */
export function Out({ to, children }: { to: string | null | undefined; children: ComponentChildren }) {
  const href = safe(to);
  if (!href) return null;
  const isElsewhere = new URL(href).origin !== location.origin;
  const follow = (event: MouseEvent) => {
    if (leave(href, isElsewhere || event.ctrlKey || event.metaKey || event.shiftKey)) event.preventDefault();
  };
  return (
    <a href={href} target={isElsewhere ? "_blank" : "_top"} rel="noopener noreferrer" onClick={follow}>
      {children}
    </a>
  );
}

export function To({ place, children }: { place: Place; children: ComponentChildren }) {
  return <a href={pageOf(place)}>{children}</a>;
}

export function Section({ name, title, children }: { name: string; title: string; children: ComponentChildren }) {
  return (
    <section aria-labelledby={`${name}-title`} data-testid={name}>
      <h2 id={`${name}-title`}>{title}</h2>
      {children}
    </section>
  );
}

export function Table(props: { caption: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    // biome-ignore lint/a11y/useSemanticElements: it groups no fields of a form
    <div class="scroll" tabIndex={0} role="group" aria-label={props.caption}>
      <table>
        <caption>{props.caption}</caption>
        {props.children}
      </table>
    </div>
  );
}

export function Tile({
  name,
  label,
  note,
  children,
}: {
  name: string;
  label: string;
  note?: string;
  children: ComponentChildren;
}) {
  return (
    <div class="tile" data-testid={`tile-${name}`}>
      <dt>{label}</dt>
      <dd>
        <span class="value">{children}</span>
        {note ? <span class="note">{note}</span> : null}
      </dd>
    </div>
  );
}

/** A whole page that says why there is nothing else. */
export function State({ name, title, children }: { name: string; title: string; children?: ComponentChildren }) {
  return (
    <div class="state" role="status" data-testid={`state-${name}`}>
      <h1>{title}</h1>
      {children}
    </div>
  );
}

/** What to show while there is no data; null: there is. */
export function Missing({ answer }: { answer: Answer<unknown> }) {
  const { data, error } = answer;
  if (data) return null;
  if (!error) return <State name="loading" title="Loading…" />;
  if (error.status === 401) {
    return (
      <State name="signed-out" title="You are signed out">
        <p>
          <Out to="../../">Sign in to Airflow</Out>; this page then goes on by itself.
        </p>
      </State>
    );
  }
  if (error.status === 403) {
    return (
      <State name="forbidden" title="You may not see this fleet">
        <p>It takes the right to read the task instances and XComs of its DAG. {error.detail}</p>
      </State>
    );
  }
  if (error.status === 404) {
    return (
      <State name="not-found" title="There is nothing here">
        <p>{error.detail || "It may have been deleted."}</p>
      </State>
    );
  }
  return (
    <State name="error" title={error.status ? "Airflow cannot answer" : "Airflow does not answer"}>
      <p>{error.detail || (error.status ? `HTTP status ${error.status}` : "The connection failed.")}</p>
      <p>Trying again…</p>
    </State>
  );
}

/** Above data that may be old. */
export function Stale({ answer }: { answer: Answer<unknown> }) {
  return (
    <div role="status" data-testid="connection">
      {answer.data && answer.error ? (
        <p class="banner">Connection lost, trying again. What you see may be out of date.</p>
      ) : null}
    </div>
  );
}
