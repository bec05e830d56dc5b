/** Which fleet this is, and the way back to the others, where nothing around the page says so. */
import { type Place, pageOf, placeOf } from "./place";

/** Where one came from within the page; null: from elsewhere, such as a tab of Airflow, which says itself what it shows. */
function cameFrom(): URL | null {
  try {
    const from = new URL(document.referrer);
    return from.pathname.includes("/spotmix/ui/") ? from : null;
  } catch {
    return null;
  }
}

export function Crumbs({ place }: { place: Place }) {
  const from = cameFrom();
  if (place.view === "fleets" || !(from || window.top === window)) return null;
  // Back to the list as it was: filtered, sorted, on that page.
  const wasList = from && placeOf(from.pathname, from.search)?.view === "fleets";
  const run: Place = { view: "run", dag: place.dag, run: place.run };
  return (
    <nav class="crumbs" aria-label="Where this is">
      <a href={wasList ? from.href : pageOf({ view: "fleets" })}>All fleets</a>
      <span aria-hidden="true">/</span> <span>{place.dag}</span> <span aria-hidden="true">/</span>
      {place.view === "run" ? (
        <span aria-current="page">{place.run}</span>
      ) : (
        <>
          <a href={pageOf(run)}>{place.run}</a> <span aria-hidden="true">/</span>
          <span aria-current="page">{place.map < 0 ? place.task : `${place.task} [${place.map}]`}</span>
        </>
      )}
    </nav>
  );
}
