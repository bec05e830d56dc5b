/** A table of fleets, one row each. */
import type { ComponentChildren } from "preact";
import type { Row } from "./contract";
import { between, count, duration, minute, money } from "./format";
import { isOver } from "./headline";
import { Badge, Table, Time, To } from "./parts";

export interface Order {
  by: string; // as the route takes it: "-" before it is descending
  set: (by: string) => void;
}

interface Column {
  title: string;
  key?: string; // of the order
  style?: "number" | "long" | "plain"; // otherwise a name, which is not broken
  cell: (row: Row) => ComponentChildren;
}

const place = (row: Row) =>
  ({ view: "task", dag: row.dag_id, run: row.run_id, task: row.task_id, map: row.map_index }) as const;

const DAG: Column = { title: "DAG", key: "dag_id", cell: (row) => row.dag_display_name || row.dag_id };
const RUN: Column = {
  title: "Run",
  style: "long",
  cell: (row) => <To place={{ view: "run", dag: row.dag_id, run: row.run_id }}>{row.run_id}</To>,
};
const COLUMNS: Column[] = [
  {
    title: "Task",
    cell: (row) => (
      <To place={place(row)}>
        {row.task_id}
        {row.map_index >= 0 ? ` [${row.map_index}]` : ""}
      </To>
    ),
  },
  { title: "State", style: "plain", cell: state },
  { title: "Saved", key: "saved", style: "number", cell: ({ summary: s }) => amount(s.saved, s) },
  { title: "Cost", key: "total", style: "number", cell: ({ summary: s }) => amount(s.total, s) },
  {
    title: "Executors",
    key: "executors",
    style: "number",
    cell: ({ summary: s }) => (isOver(s.state) ? "–" : `${count(s.executors)} (${count(s.spot)} spot)`),
  },
  {
    title: "Interruptions",
    key: "interruptions",
    style: "number",
    cell: ({ summary }) => count(summary.interruptions),
  },
  {
    title: "Started",
    key: "started_at",
    style: "plain",
    cell: ({ summary }) => <Time at={summary.started_at} show={minute} />,
  },
  { title: "Ended", key: "ended_at", style: "plain", cell: ended },
];

function state({ summary }: Row) {
  return (
    <>
      <Badge kind={summary.state}>{summary.state}</Badge>{" "}
      {summary.in_fallback && !isOver(summary.state) ? <Badge kind="warn">in fallback</Badge> : null}
    </>
  );
}

function ended({ summary: s }: Row) {
  const took = between(s.started_at, s.ended_at);
  return (
    <>
      <Time at={s.ended_at} show={minute} /> {took === null ? null : <span class="note">{duration(took)}</span>}
    </>
  );
}

const amount = (value: string | null, { currency, estimated }: Row["summary"]) =>
  `${estimated && value !== null ? "about " : ""}${money(value, currency)}`;

export function Rows({
  rows,
  caption,
  isOneRun,
  order,
}: {
  rows: Row[];
  caption: string;
  isOneRun?: boolean;
  order?: Order;
}) {
  const columns = isOneRun ? COLUMNS : [DAG, RUN, ...COLUMNS];
  return (
    <Table caption={caption}>
      <thead>
        <tr>
          {columns.map((column) => (
            <Head key={column.title} column={column} order={order} />
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={JSON.stringify(place(row))} data-testid="fleet-row" data-dag={row.dag_id} data-task={row.task_id}>
            {columns.map((column) => (
              <td key={column.title} class={column.style ?? "name"}>
                {column.cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </Table>
  );
}

function Head({ column, order }: { column: Column; order: Order | undefined }) {
  const { key, style = "" } = column;
  if (!order || !key) {
    return (
      <th scope="col" class={style}>
        {column.title}
      </th>
    );
  }
  const is = order.by === key ? "ascending" : order.by === `-${key}` ? "descending" : "none";
  return (
    <th scope="col" class={style} aria-sort={is}>
      <button type="button" class="sort" onClick={() => order.set(is === "descending" ? key : `-${key}`)}>
        {column.title}
        <span aria-hidden="true">{is === "ascending" ? " ▲" : is === "descending" ? " ▼" : ""}</span>
      </button>
    </th>
  );
}
