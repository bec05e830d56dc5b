/** Answers that the Python side has really made (tests/ui), as the types of the contract: `tsc` compares them. */

import fleetsJson from "../fixtures/fleets.json";
import runJson from "../fixtures/run.json";
import fallbackJson from "../fixtures/task-fallback.json";
import hostileJson from "../fixtures/task-hostile.json";
import nothingJson from "../fixtures/task-nothing.json";
import runningJson from "../fixtures/task-running.json";
import submittedJson from "../fixtures/task-submitted.json";
import succeededJson from "../fixtures/task-succeeded.json";
import type { FleetsAnswer, RunAnswer, TaskAnswer } from "../src/contract";

export const fleets: FleetsAnswer = fleetsJson;
export const run: RunAnswer = runJson;
export const fallback: TaskAnswer = fallbackJson;
export const hostile: TaskAnswer = hostileJson;
export const nothing: TaskAnswer = nothingJson;
export const running: TaskAnswer = runningJson;
export const submitted: TaskAnswer = submittedJson;
export const succeeded: TaskAnswer = succeededJson;
