/** The page: the view that its address names. */
import { Component, type ComponentChildren } from "preact";
import { Crumbs } from "./crumbs";
import { FleetsView } from "./fleets";
import { State } from "./parts";
import type { Place } from "./place";
import { RunView } from "./run";
import { TaskView } from "./task";

/** Data of another version, or that somebody else has written, may be of another shape. */
class Guard extends Component<{ children: ComponentChildren }, { error: unknown }> {
  override state = { error: null as unknown };

  override componentDidCatch(error: unknown) {
    console.error(error);
    this.setState({ error });
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <State name="unreadable" title="This fleet cannot be shown">
        <p>
          Its data is not what this version of the page expects. Reload the page; if that does not help, its log tells
          why.
        </p>
      </State>
    );
  }
}

export function Page({ place }: { place: Place | null }) {
  return (
    <main>
      <Guard>
        {place ? <Crumbs place={place} /> : null}
        {place?.view === "task" ? <TaskView place={place} /> : null}
        {place?.view === "run" ? <RunView place={place} /> : null}
        {place?.view === "fleets" ? <FleetsView /> : null}
        {place ? null : (
          <State name="not-found" title="There is nothing here">
            <p>The address names no task, run or list of fleets.</p>
          </State>
        )}
      </Guard>
    </main>
  );
}
