/** The facts below the timeline, each a table or a list. */
import type { Breaker, Counts, Driver, Fleet, Overhead, Period } from "./contract";
import { between, count, duration, many, money, sum } from "./format";
import { poolsOf } from "./headline";
import { Badge, Out, Section, Table, Time } from "./parts";
import { safe } from "./place";

const COLUMNS = ["target", "seats", "placed", "running"] as const;

export function Mix({ fleet }: { fleet: Fleet }) {
  const pools = poolsOf(fleet);
  return (
    <Section name="mix" title="Mix">
      <Table caption="Executors by pool: what the mix asks for, whose seats they are, where they are, and which run">
        <thead>
          <tr>
            <th scope="col">Pool</th>
            <th scope="col">Capacity</th>
            {["Target", "Seats", "Placed", "Running"].map((title) => (
              <th scope="col" class="number" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {pools.map((pool, i) => (
            <tr key={pool} data-testid="mix-pool" data-pool={pool}>
              <th scope="row">
                <i class={`swatch ${colorOf(fleet, pool, i)}`} aria-hidden="true" /> {pool}
              </th>
              <td>{fleet.pools[pool]?.capacity_type ?? "unknown"}</td>
              {COLUMNS.map((name) => (
                <td class="number" key={name} data-column={name}>
                  {count(fleet[name][pool] ?? 0)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" colSpan={2}>
              All
            </th>
            {COLUMNS.map((name) => (
              <td class="number" key={name}>
                {count(sum(fleet[name]))}
              </td>
            ))}
          </tr>
        </tfoot>
      </Table>
      {fleet.waiting || fleet.leaving ? (
        <p class="hint">
          {count(fleet.waiting)} waiting to be placed, {count(fleet.leaving)} leaving.
        </p>
      ) : null}
    </Section>
  );
}

/** The class of a pool's colour: teals for spot, blues for others. */
export function colorOf(fleet: Fleet, pool: string, index: number): string {
  const same = poolsOf(fleet).filter((each) => isSpot(fleet, each) === isSpot(fleet, pool));
  const at = same.indexOf(pool);
  return `${isSpot(fleet, pool) ? "spot" : "demand"}-${(at < 0 ? index : at) % 4}`;
}

function isSpot(fleet: Fleet, pool: string): boolean {
  return fleet.pools[pool]?.capacity_type === "spot";
}

export function Counted({ fleet }: { fleet: Fleet }) {
  const { notices, losses, replacements, fallbacks, returns } = fleet.counts;
  return (
    <Section name="counts" title="What happened, in numbers">
      <dl class="counts">
        <Count name="notices" label="Notices" all={notices} />
        <Count name="losses" label="Losses" all={sum(losses)} by={losses} />
        <Count name="replacements" label="Replacements" all={sum(replacements)} by={replacements} />
        <Count name="fallbacks" label="Fallbacks" all={sum(fallbacks)} by={fallbacks} />
        <Count name="returns" label="Returns to spot" all={sum(returns)} by={returns} />
        {fleet.overhead ? <LostWork overhead={fleet.overhead} /> : null}
      </dl>
    </Section>
  );
}

function LostWork({ overhead }: { overhead: Overhead }) {
  const { lost_tasks, lost_task_seconds, repeated_tasks, repeated_task_seconds } = overhead;
  return (
    <div data-testid="count-overhead">
      <dt>Work lost with executors</dt>
      <dd>
        <b>{many(lost_tasks, "task")}</b>{" "}
        <span class="note">
          cut short ({duration(lost_task_seconds)}), {many(repeated_tasks, "task")} done again (about{" "}
          {duration(repeated_task_seconds)})
        </span>
      </dd>
    </div>
  );
}

function Count({ name, label, all, by = {} }: { name: string; label: string; all: number; by?: Counts }) {
  const parts = Object.entries(by).map(([key, value]) => `${key} ${count(value)}`);
  return (
    <div data-testid={`count-${name}`}>
      <dt>{label}</dt>
      <dd>
        <b>{count(all)}</b> {parts.length ? <span class="note">{parts.join(", ")}</span> : null}
      </dd>
    </div>
  );
}

export function Breakers({ breakers }: { breakers: Record<string, Breaker> }) {
  const pools = Object.entries(breakers).filter(([, each]) => each.state !== "closed" || each.since);
  if (!pools.length) return null;
  return (
    <Section name="breakers" title="Breakers of spot pools">
      <ul class="plain">
        {pools.map(([pool, { state, since, why }]) => (
          <li key={pool}>
            {pool} <Badge kind={state === "closed" ? "good" : "bad"}>{state}</Badge>{" "}
            {since ? (
              <>
                since <Time at={since} />
              </>
            ) : null}{" "}
            {why}
          </li>
        ))}
      </ul>
    </Section>
  );
}

const PERIODS: Record<string, string> = {
  fallback: "Fallback",
  breaker: "Breaker open",
  outage: "Nobody looked after it",
};

export function Periods({ periods }: { periods: Period[] }) {
  if (!periods.length) return null;
  return (
    <Section name="periods" title="Fallback, breakers and outages">
      <Table caption="Periods of fallback, of an open breaker, and in which nobody looked after the fleet">
        <thead>
          <tr>
            <th scope="col">What</th>
            <th scope="col">Pool</th>
            <th scope="col">Since</th>
            <th scope="col">Until</th>
            <th scope="col">Lasted</th>
            <th scope="col">Why</th>
          </tr>
        </thead>
        <tbody>
          {periods.map((each) => {
            const lasted = between(each.since, each.until);
            return (
              <tr key={`${each.kind} ${each.pool} ${each.since}`}>
                <td>{PERIODS[each.kind] ?? each.kind}</td>
                <td class="name">{each.pool || "all"}</td>
                <td>
                  <Time at={each.since} />
                </td>
                <td>{each.until ? <Time at={each.until} /> : <Badge kind="warn">goes on</Badge>}</td>
                <td>{lasted === null ? "–" : duration(lasted)}</td>
                <td class="why">{each.why}</td>
              </tr>
            );
          })}
        </tbody>
      </Table>
    </Section>
  );
}

export function Drivers({ drivers, more }: { drivers: Driver[]; more: number }) {
  const hasGroups = drivers.some((each) => each.group);
  const hasLinks = drivers.some((each) => safe(each.links?.spark_ui) || safe(each.links?.history_server));
  return (
    <Section name="drivers" title={drivers.length === 1 ? "Driver" : "Drivers"}>
      <Table caption="Applications, their drivers, and where to look at them">
        <thead>
          <tr>
            <th scope="col">Application</th>
            {hasGroups ? <th scope="col">Group</th> : null}
            <th scope="col">State</th>
            <th scope="col">Pod</th>
            <th scope="col">Node</th>
            {hasLinks ? <th scope="col">Look at it</th> : null}
          </tr>
        </thead>
        <tbody>
          {drivers.map((each) => (
            <tr key={`${each.application}`}>
              <th scope="row">{each.application}</th>
              {hasGroups ? (
                <td>
                  {each.group} {each.attempt > 1 ? `(attempt ${each.attempt}, on ${each.pool})` : ""}
                </td>
              ) : null}
              <td>
                <Badge kind={each.state.toLowerCase()}>{each.state.toLowerCase()}</Badge> {each.message}
              </td>
              <td>{each.pod || "–"}</td>
              <td>{each.node || "–"}</td>
              {hasLinks ? (
                <td class="links">
                  <Out to={each.links?.spark_ui}>Spark UI</Out>{" "}
                  <Out to={each.links?.history_server}>History server</Out>
                </td>
              ) : null}
            </tr>
          ))}
        </tbody>
      </Table>
      {more ? <p class="hint">and {count(more)} more</p> : null}
    </Section>
  );
}

export function Ledger({ fleet }: { fleet: Fleet }) {
  const pools = poolsOf(fleet).filter((pool) => fleet.ledger[pool]);
  if (!pools.length) return null;
  return (
    <Section name="ledger" title="Ledger">
      <Table caption="Executor time by placed pool, from scheduled to gone; the driver is not among it">
        <thead>
          <tr>
            <th scope="col">Pool</th>
            {["Executors", "Executor time", "Core-hours", "GiB-hours", "Cost"].map((title) => (
              <th scope="col" class="number" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {pools.map((pool) => {
            const row = fleet.ledger[pool];
            if (!row) return null;
            const { executor_seconds: most, executor_seconds_at_least: least } = row;
            const bounds = row.incomplete ? `at least ${duration(least)}` : `${duration(least)} to ${duration(most)}`;
            return (
              <tr key={pool}>
                <th scope="row">{pool}</th>
                <td class="number">{count(row.executors)}</td>
                <td class="number">{row.estimated || row.incomplete ? `${bounds} (estimated)` : duration(most)}</td>
                <td class="number">{count(row.core_hours)}</td>
                <td class="number">{count(row.gib_hours)}</td>
                <td class="number">{money(fleet.costs?.by_pool[pool], fleet.costs?.currency ?? null)}</td>
              </tr>
            );
          })}
        </tbody>
        {fleet.costs ? (
          <tfoot>
            <tr>
              <th scope="row" colSpan={5}>
                All{fleet.costs.estimated ? " (estimated)" : ""}
              </th>
              <td class="number">{money(fleet.costs.total, fleet.costs.currency)}</td>
            </tr>
          </tfoot>
        ) : null}
      </Table>
    </Section>
  );
}
