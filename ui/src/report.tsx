/** The fleet's report: what the operator returned. */
import type { Lost, Report } from "./contract";
import { byPool, clock, count, many } from "./format";
import { Badge, Section, Table, Time } from "./parts";

const FEW = 50;

export function Reported({ report }: { report: Report }) {
  const { count: placements, p50, p99 } = report.gate_latency_ms;
  const lost = [...report.interruptions, ...report.failures, ...report.unobtainable];
  return (
    <Section name="report" title="Report">
      <p>
        <Badge kind={report.result}>{report.result}</Badge> {report.message}
      </p>
      <dl class="counts">
        <div>
          <dt>Asked for at the start</dt>
          <dd>{byPool(report.target, Object.keys(report.target)) || "nothing"}</dd>
        </div>
        <div>
          <dt>First placed</dt>
          <dd>{byPool(report.initial, Object.keys(report.initial)) || "nothing"}</dd>
        </div>
        {placements && p50 !== undefined && p99 !== undefined ? (
          <div>
            <dt>Time to place an executor</dt>
            <dd>
              median {count(p50)} ms, 99 % within {count(p99)} ms{" "}
              <span class="note">of the last {many(placements, "placement")}</span>
            </dd>
          </div>
        ) : null}
      </dl>
      {lost.length ? <Losses lost={lost} /> : null}
    </Section>
  );
}

function Losses({ lost }: { lost: Lost[] }) {
  return (
    <>
      <Table caption="Executors that were lost, and the evidence of why">
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Executor</th>
            <th scope="col">Pool</th>
            <th scope="col">Node</th>
            <th scope="col">Cause</th>
            <th scope="col">Evidence</th>
          </tr>
        </thead>
        <tbody>
          {lost.slice(0, FEW).map((each, i) => (
            <tr key={`${each.executor} ${i}`}>
              <td>
                <Time at={each.at} show={clock} />
              </td>
              <th scope="row">{each.executor}</th>
              <td>{each.pool}</td>
              <td>{each.node || "–"}</td>
              <td>{each.cause}</td>
              <td>{each.evidence.join("; ")}</td>
            </tr>
          ))}
        </tbody>
      </Table>
      {lost.length > FEW ? (
        <p class="hint">and {count(lost.length - FEW)} more, in the task's XCom return_value</p>
      ) : null}
    </>
  );
}
