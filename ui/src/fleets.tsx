/** All fleets that the user may see: running and recent. */
import { useEffect, useState } from "preact/hooks";
import { useData } from "./api";
import type { FleetsAnswer, Totals } from "./contract";
import { count, many, money, share } from "./format";
import { isOver } from "./headline";
import { Missing, Stale, Tile } from "./parts";
import { dataOf, parameters } from "./place";
import { Rows } from "./rows";

const PAGE = 50;

interface Query {
  state: string;
  q: string;
  order_by: string;
  offset: number;
}

function fromAddress(): Query {
  const { state = "", q = "", order_by = "-started_at", offset = "0" } = parameters(location.search);
  return { state, q, order_by, offset: /^\d+$/.test(offset) ? +offset : 0 };
}

export function toAddress(query: Query): string {
  const parts = Object.entries(query).filter(([, value]) => value !== "" && value !== 0);
  return parts.length ? `?${parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}` : "";
}

export function FleetsView() {
  const [query, setQuery] = useState(fromAddress);
  const set = (change: Partial<Query>) => setQuery((old) => ({ ...old, offset: 0, ...change }));
  const address = toAddress(query);
  useEffect(() => history.replaceState(null, "", `fleets${address}`), [address]);
  const url = dataOf({ view: "fleets" }, `${address || "?"}${address ? "&" : ""}limit=${PAGE}`);
  const answer = useData<FleetsAnswer>(url, isLive);
  const { data } = answer;
  return (
    <>
      <h1>Spark fleets</h1>
      <Filters query={query} set={set} />
      <Missing answer={answer} />
      <Stale answer={answer} />
      {data ? <Sums totals={data.totals} /> : null}
      {data ? <Found data={data} query={query} set={set} /> : null}
    </>
  );
}

const isLive = ({ fleets }: FleetsAnswer): boolean => fleets.some((row) => !isOver(row.summary.state));

function Filters({ query, set }: { query: Query; set: (change: Partial<Query>) => void }) {
  const [text, setText] = useState(query.q);
  useEffect(() => {
    const timer = setTimeout(() => text !== query.q && set({ q: text }), 300);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <search class="filters">
      <label>
        Show{" "}
        <select value={query.state} onChange={(event) => set({ state: event.currentTarget.value })}>
          <option value="">all fleets</option>
          <option value="running">running</option>
          <option value="ended">ended</option>
        </select>
      </label>
      <label>
        DAG, run or task contains{" "}
        <input type="search" value={text} maxLength={250} onInput={(event) => setText(event.currentTarget.value)} />
      </label>
    </search>
  );
}

function Sums({ totals }: { totals: Totals[] }) {
  if (!totals.length) return null;
  return (
    <dl class="tiles few" data-testid="totals">
      {totals.map((each) => (
        <Tile
          key={each.currency}
          name={`saved-${each.currency}`}
          label="Saved"
          note={`${share(each.saved, each.all_on_demand)} of ${money(each.all_on_demand, each.currency)}, by ${many(each.fleets, "fleet")} with prices`}
        >
          {money(each.saved, each.currency)}
        </Tile>
      ))}
    </dl>
  );
}

function Found({ data, query, set }: { data: FleetsAnswer; query: Query; set: (change: Partial<Query>) => void }) {
  const { fleets, total } = data;
  if (!fleets.length) {
    const isFiltered = query.q || query.state;
    return (
      <div class="state" role="status" data-testid="state-empty">
        <h2>{isFiltered ? "No fleet is like that" : "No fleet yet"}</h2>
        <p>
          {isFiltered
            ? "Change the filter above."
            : "Fleets of all DAGs that you may read appear here as soon as a SparkFleetOperator has submitted one."}
        </p>
      </div>
    );
  }
  const first = query.offset + 1;
  const until = query.offset + fleets.length;
  return (
    <>
      <Rows
        rows={fleets}
        caption="Fleets, running and recent"
        order={{ by: query.order_by, set: (order_by) => set({ order_by }) }}
      />
      <nav class="pages" aria-label="Pages">
        <button
          type="button"
          disabled={!query.offset}
          onClick={() => set({ offset: Math.max(0, query.offset - PAGE) })}
        >
          Previous
        </button>
        <span role="status">
          {count(first)} to {count(until)} of {count(total)}
          {data.truncated ? " of the newest fleets" : ""}
        </span>
        <button type="button" disabled={until >= total} onClick={() => set({ offset: query.offset + PAGE })}>
          Next
        </button>
      </nav>
    </>
  );
}
