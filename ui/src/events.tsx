/** What happened, newest first. */
import { useState } from "preact/hooks";
import type { Happening } from "./contract";
import { clock } from "./format";
import { Badge, Section, Time } from "./parts";

const FEW = 15;

/** The text without the kind before it, which is beside it. */
function told({ kind, text }: Happening): string {
  return text.startsWith(`${kind}: `) ? text.slice(kind.length + 2) : text;
}

export function Events({ events }: { events: Happening[] }) {
  const [kind, setKind] = useState("");
  const [isAll, setAll] = useState(false);
  const kinds = [...new Set(events.map((event) => event.kind))].sort();
  const chosen = events.filter((event) => !kind || event.kind === kind).reverse();
  const shown = isAll ? chosen : chosen.slice(0, FEW);
  if (!events.length) {
    return (
      <Section name="events" title="Events">
        <p class="hint">No notice, loss, replacement or fallback so far.</p>
      </Section>
    );
  }
  return (
    <Section name="events" title="Events">
      {kinds.length > 1 ? (
        <p>
          <label>
            Show{" "}
            <select value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
              <option value="">all kinds</option>
              {kinds.map((each) => (
                <option key={each} value={each}>
                  {each}
                </option>
              ))}
            </select>
          </label>
        </p>
      ) : null}
      <ol class="events" aria-label="Events, newest first">
        {shown.map((event, i) => (
          <li key={`${event.at} ${event.kind} ${event.executor} ${i}`} data-kind={event.kind}>
            <Time at={event.at} show={clock} /> <Badge kind={event.kind}>{event.kind}</Badge>{" "}
            <span class="text">{told(event)}</span>
          </li>
        ))}
      </ol>
      {chosen.length > FEW ? (
        <button type="button" onClick={() => setAll(!isAll)} aria-expanded={isAll}>
          {isAll ? "Show fewer" : `Show all ${chosen.length}`}
        </button>
      ) : null}
    </Section>
  );
}
