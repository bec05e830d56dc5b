/** What the routes below ../api/v1/ answer. Later versions only add keys. tests/ui holds this to the Python that writes it. */

export type Counts = Record<string, number>;
export type Columns = Record<string, number[]>;

export interface Summary {
  fleet: string;
  namespace: string;
  state: string; // submitted, running, succeeded, failed, killed
  started_at: string | null;
  ended_at: string | null;
  updated_at: string;
  placement: string;
  executors: number;
  spot: number;
  on_demand: number;
  interruptions: number;
  replacements: number;
  fallbacks: number;
  in_fallback: boolean;
  currency: string | null;
  total: string | null;
  all_on_demand: string | null;
  saved: string | null;
  estimated: boolean;
}

export interface Driver {
  application: string;
  group: string;
  pool: string;
  attempt: number;
  state: string;
  message: string;
  pod: string;
  node: string;
  links?: { spark_ui?: string | null; history_server?: string | null };
}

export interface Breaker {
  state: string; // closed, open, half-open
  since: string | null;
  why: string;
}

export interface Period {
  kind: string; // fallback, breaker, outage
  pool: string;
  since: string;
  until: string | null;
  why: string;
}

export interface Happening {
  at: string;
  kind: string; // notice, loss, replacement, fallback, return, breaker, outage, driver, resubmission
  text: string;
  pool: string;
  executor: string;
  node: string;
  cause: string;
}

export interface LedgerRow {
  executors: number;
  executor_seconds: number;
  executor_seconds_at_least: number;
  core_hours: number;
  core_hours_at_least: number;
  gib_hours: number;
  gib_hours_at_least: number;
  estimated: boolean;
  incomplete: boolean;
}

export interface Costs {
  currency: string;
  by_pool: Record<string, string>;
  total: string;
  all_on_demand: string;
  saved: string;
  estimated: boolean;
}

export interface Timeline {
  at: number[]; // seconds since the epoch; each value holds from there to the next
  placed: Columns;
  seats: Columns;
  running: Columns;
}

export interface Fleet {
  schema: number;
  fleet: string;
  namespace: string;
  applications: string[];
  summary: Summary;
  message: string;
  controller: string;
  mix: { ratio: Counts; on_demand_base: number };
  pools: Record<string, { capacity_type: string }>;
  fallback_pool: string;
  target: Counts;
  seats: Counts;
  placed: Counts;
  running: Counts;
  waiting: number;
  leaving: number;
  drivers: Driver[];
  more: number;
  counts: { notices: number; losses: Counts; replacements: Counts; fallbacks: Counts; returns: Counts };
  breaker: Record<string, Breaker>;
  timeline: Timeline;
  periods: Period[];
  events: Happening[];
  ledger: Record<string, LedgerRow>;
  costs: Costs | null;
  overhead: Overhead | null;
}

export interface Lost {
  at: string;
  executor: string;
  pool: string;
  node: string;
  cause: string;
  evidence: string[];
}

export interface Overhead {
  lost_tasks: number;
  lost_task_seconds: number;
  repeated_tasks: number;
  repeated_task_seconds: number;
}

export interface Report {
  result: string;
  message: string;
  placement: string;
  target: Counts;
  initial: Counts;
  interruptions: Lost[];
  failures: Lost[];
  unobtainable: Lost[];
  gate_latency_ms: Record<string, number>;
}

export interface TaskAnswer {
  task: {
    dag_id: string;
    run_id: string;
    task_id: string;
    map_index: number;
    state: string | null;
    try_number: number;
    start_date: string | null;
    end_date: string | null;
    log_url: string | null;
  };
  fleet: Fleet | null;
  report: Report | null;
  why_empty: string | null;
}

export interface Row {
  dag_id: string;
  dag_display_name: string;
  run_id: string;
  task_id: string;
  map_index: number;
  try_number: number;
  task_state: string | null;
  logical_date: string | null;
  summary: Summary;
}

export interface RunAnswer {
  fleets: Row[];
}

export interface Totals {
  currency: string;
  saved: string;
  total: string;
  all_on_demand: string;
  fleets: number;
}

export interface FleetsAnswer {
  fleets: Row[];
  total: number;
  totals: Totals[];
  truncated?: boolean;
}
