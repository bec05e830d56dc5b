/** The fleets of one DAG run. */
import { useData } from "./api";
import type { RunAnswer } from "./contract";
import { many } from "./format";
import { isOver } from "./headline";
import { Missing, Stale } from "./parts";
import { dataOf } from "./place";
import { Rows } from "./rows";
import { TaskView } from "./task";

export function RunView({ place }: { place: { view: "run"; dag: string; run: string } }) {
  const answer = useData<RunAnswer>(dataOf(place), isLive);
  const { data } = answer;
  const only = data?.fleets.length === 1 ? data.fleets[0] : undefined;
  return (
    <>
      <Missing answer={answer} />
      <Stale answer={answer} />
      {data && !data.fleets.length ? (
        <div class="state" role="status" data-testid="state-empty">
          <h1>No fleet in this run yet</h1>
          <p>Fleets appear here, by themselves, as soon as a task has submitted its Spark application.</p>
        </div>
      ) : null}
      {data && data.fleets.length > 1 ? (
        <>
          <h1 aria-live="polite" data-testid="headline">
            {many(data.fleets.length, "fleet")} in this run,{" "}
            {data.fleets.filter((row) => !isOver(row.summary.state)).length} running.
          </h1>
          <Rows rows={data.fleets} caption={`Fleets of the run ${place.run}`} isOneRun />
        </>
      ) : null}
      {only ? (
        <TaskView
          place={{ view: "task", dag: only.dag_id, run: only.run_id, task: only.task_id, map: only.map_index }}
        />
      ) : null}
    </>
  );
}

/** A run's tasks come one after the other: without a fleet it is as if one may come. */
function isLive({ fleets }: RunAnswer): boolean {
  return !fleets.length || fleets.some((row) => !isOver(row.summary.state));
}
