/** The timeline: a chart for the eye, and the same as a table. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { Fleet } from "./contract";
import { colorOf } from "./facts";
import { clock, count, duration } from "./format";
import { poolsOf } from "./headline";
import { Section, Table } from "./parts";
import { Plot, shapeOf } from "./plot";
import { followTheme } from "./theme";
import { pointAt, steps } from "./timeline";

export function Chart({ fleet }: { fleet: Fleet }) {
  const { at } = fleet.timeline;
  const lasted = (at[at.length - 1] ?? 0) - (at[0] ?? 0);
  return (
    <Section name="timeline" title="Timeline">
      {at.length > 1 ? (
        <>
          <Drawn
            fleet={fleet}
            label={`Executors by placed pool over ${duration(lasted)}; the same is in the table below`}
          />
          <Legend fleet={fleet} />
        </>
      ) : (
        <p class="hint">It begins with the first executor.</p>
      )}
      <Steps fleet={fleet} />
    </Section>
  );
}

function Drawn({ fleet, label }: { fleet: Fleet; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | null>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  const [theme, setTheme] = useState(0);
  const shape = shapeOf(fleet);
  useEffect(() => followTheme(() => setTheme((old) => old + 1)), []);
  useEffect(() => {
    const element = place.current;
    // Where nothing can be drawn, the table is what there is.
    if (!element || !document.createElement("canvas").getContext("2d")) return;
    plot.current = new Plot(element, fleet, setPointed);
    return () => {
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, theme]);
  useEffect(() => plot.current?.show(fleet), [fleet]);
  return (
    <>
      <div class="plot" ref={place} role="img" aria-label={label} data-testid="plot" />
      <p class="pointed" aria-hidden="true">
        {pointed === null ? "Point at the chart to read its numbers." : said(fleet, pointed)}
      </p>
    </>
  );
}

function said(fleet: Fleet, time: number): string {
  const { at, placed, seats } = fleet.timeline;
  const index = pointAt(at, time);
  const parts = poolsOf(fleet).map((pool) => {
    const seat = seats[pool]?.[index];
    return `${pool} ${count(placed[pool]?.[index] ?? 0)}${seat === undefined ? "" : ` (seats ${count(seat)})`}`;
  });
  return `${clock(time)}: ${parts.join(", ")}`;
}

function Legend({ fleet }: { fleet: Fleet }) {
  const kinds = new Set(fleet.periods.map((period) => period.kind));
  const events = new Set(fleet.events.map((event) => event.kind));
  return (
    <ul class="legend" aria-label="Legend">
      {poolsOf(fleet).map((pool, i) => (
        <li key={pool}>
          <i class={`swatch ${colorOf(fleet, pool, i)}`} aria-hidden="true" /> placed on {pool}
        </li>
      ))}
      <li>
        <i class="line dashed" aria-hidden="true" /> seats of spot
      </li>
      <li>
        <i class="line dotted" aria-hidden="true" /> all seats
      </li>
      {["fallback", "breaker", "outage"].map((kind) =>
        kinds.has(kind) ? (
          <li key={kind}>
            <i class={`swatch period-${kind}`} aria-hidden="true" /> {kind}
          </li>
        ) : null,
      )}
      {Object.entries({ notice: "▲", loss: "✕", replacement: "●" }).map(([kind, sign]) =>
        events.has(kind) ? (
          <li key={kind}>
            <span class={`event-${kind}`} aria-hidden="true">
              {sign}
            </span>{" "}
            {kind}
          </li>
        ) : null,
      )}
    </ul>
  );
}

function Steps({ fleet }: { fleet: Fleet }) {
  const [isOpen, setOpen] = useState(false);
  const pools = poolsOf(fleet);
  return (
    <details data-testid="timeline-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Timeline as a table</summary>
      {isOpen ? (
        <Table caption="Executors by placed pool and time, newest first; seats in parentheses">
          <thead>
            <tr>
              <th scope="col">From</th>
              {pools.map((pool) => (
                <th scope="col" class="number" key={pool}>
                  {pool}
                </th>
              ))}
              <th scope="col" class="number">
                Running
              </th>
              <th scope="col">What happened</th>
            </tr>
          </thead>
          <tbody>
            {steps(fleet, pools).map((step) => (
              <tr key={step.at}>
                <th scope="row">{clock(step.at)}</th>
                {pools.map((pool, i) => (
                  <td class="number" key={pool}>
                    {count(step.placed[i] ?? 0)} ({count(step.seats[i] ?? 0)})
                  </td>
                ))}
                <td class="number">{count(step.running)}</td>
                <td>{step.what.join(", ")}</td>
              </tr>
            ))}
          </tbody>
        </Table>
      ) : null}
    </details>
  );
}
