/** One task instance's fleet: the sentence, the tiles, the timeline, and everything else that is known. */
import { useData } from "./api";
import { Chart } from "./chart";
import type { Fleet, TaskAnswer } from "./contract";
import { Events } from "./events";
import { Breakers, Counted, Drivers, Ledger, Mix, Periods } from "./facts";
import { byPool, clock, count, money, share, sum } from "./format";
import { isOver, news, poolsOf, saving, toneOf } from "./headline";
import { Badge, Missing, Out, Stale, State, Tile, Time } from "./parts";
import { dataOf, type TaskPlace } from "./place";
import { Reported } from "./report";

/** States of a task instance after which nothing more happens to its fleet. */
const ENDED = ["success", "failed", "skipped", "upstream_failed", "removed"];

const WHY_EMPTY: Record<string, string> = {
  "not a fleet task": "This task runs no Spark fleet: its operator is another one.",
  "kept elsewhere": "An XCom backend keeps its values elsewhere. The task, its log and its report are not affected.",
};

export function isLive(data: TaskAnswer): boolean {
  if (data.fleet) return !isOver(data.fleet.summary.state) || (!data.report && !ENDED.includes(data.task.state ?? ""));
  return data.why_empty !== "not a fleet task" && !ENDED.includes(data.task.state ?? "");
}

export function TaskView({ place }: { place: TaskPlace }) {
  const answer = useData<TaskAnswer>(dataOf(place), isLive);
  const { data } = answer;
  return (
    <>
      <Missing answer={answer} />
      <Stale answer={answer} />
      {data?.fleet ? <FleetView fleet={data.fleet} answer={data} /> : null}
      {data && !data.fleet ? <Empty data={data} /> : null}
    </>
  );
}

function Empty({ data }: { data: TaskAnswer }) {
  if (data.why_empty === "nothing submitted yet") {
    const isEnded = ENDED.includes(data.task.state ?? "");
    return (
      <State name="empty" title={isEnded ? "Nothing was submitted" : "Nothing submitted yet"}>
        <p>
          {isEnded
            ? "The task ended before it submitted a Spark application."
            : "The fleet appears here, by itself, as soon as the task has submitted its Spark application."}
        </p>
        <p>
          The task is {data.task.state ?? "not scheduled yet"}. <Out to={data.task.log_url}>Task log</Out>
        </p>
      </State>
    );
  }
  return (
    <State name="not-a-fleet" title="No fleet to show">
      <p>
        {WHY_EMPTY[data.why_empty ?? ""] ??
          `The fleet's progress cannot be read here: ${data.why_empty ?? "it is missing"}.`}
      </p>
    </State>
  );
}

function FleetView({ fleet, answer }: { fleet: Fleet; answer: TaskAnswer }) {
  return (
    <article>
      <Head fleet={fleet} answer={answer} />
      <Tiles fleet={fleet} />
      <Chart fleet={fleet} />
      {isOver(fleet.summary.state) ? null : <Mix fleet={fleet} />}
      <Events events={fleet.events} />
      <Counted fleet={fleet} />
      <Breakers breakers={fleet.breaker} />
      <Periods periods={fleet.periods} />
      <Drivers drivers={fleet.drivers} more={fleet.more} />
      <Ledger fleet={fleet} />
      {answer.report ? <Reported report={answer.report} /> : null}
    </article>
  );
}

function Head({ fleet, answer }: { fleet: Fleet; answer: TaskAnswer }) {
  const { state, updated_at, placement } = fleet.summary;
  return (
    <header class={`head ${toneOf(fleet)}`}>
      <p class="meta">
        <span data-testid="state" data-state={state}>
          <Badge kind={state}>{state}</Badge>
        </span>
        {fleet.summary.in_fallback && !isOver(state) ? <Badge kind="warn">in fallback</Badge> : null}
        <span>
          placement <b>{placement}</b>, mix <b>{mixOf(fleet)}</b>
        </span>
        <span>
          as of <Time at={updated_at} show={clock} />
        </span>
        <Out to={answer.task.log_url}>Task log</Out>
      </p>
      <h1 data-testid="headline">
        <span aria-live="polite" aria-atomic="true">
          {news(fleet).join(" ")}
        </span>{" "}
        {saving(fleet)}
      </h1>
    </header>
  );
}

/** "40:60 spot:on-demand, base 1". */
function mixOf({ mix }: Fleet): string {
  const pools = Object.keys(mix.ratio);
  const base = mix.on_demand_base ? `, the first ${count(mix.on_demand_base)} on on-demand` : "";
  return `${pools.map((pool) => count(mix.ratio[pool] ?? 0)).join(" : ")} (${pools.join(" : ")})${base}`;
}

function Tiles({ fleet }: { fleet: Fleet }) {
  const { summary: s } = fleet;
  const about = s.estimated ? "estimated" : "";
  const over = isOver(s.state);
  const part = share(s.saved, s.all_on_demand);
  return (
    <dl class="tiles">
      {over ? null : (
        <Tile name="executors" label="Executors placed" note={byPool(fleet.placed, poolsOf(fleet))}>
          {count(sum(fleet.placed))}
        </Tile>
      )}
      <Tile name="interruptions" label="Interruptions" note={`${count(s.replacements)} replaced`}>
        {count(s.interruptions)}
      </Tile>
      <Tile name="cost" label={over ? "Cost" : "Cost so far"} note={about}>
        {money(s.total, s.currency)}
      </Tile>
      <Tile name="all-on-demand" label="If all on-demand" note={about}>
        {money(s.all_on_demand, s.currency)}
      </Tile>
      <Tile name="saved" label={over ? "Saved" : "Saved so far"} note={[part, about].filter(Boolean).join(", ")}>
        {money(s.saved, s.currency)}
      </Tile>
      {s.total === null ? <p class="hint">No costs: the connection has no prices for all pools.</p> : null}
    </dl>
  );
}
