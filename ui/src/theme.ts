/** Light or dark, and the time zone, as Airflow is: it keeps both in the storage that pages of one origin share. */

const DARK = "(prefers-color-scheme: dark)";

function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // a browser may forbid it
  }
}

export function isDark(): boolean {
  const theme = stored("theme");
  return theme === "dark" || (theme !== "light" && matchMedia(DARK).matches);
}

/** Follow Airflow's theme until the returned function is called; `changed` is told of each change after the first. */
export function followTheme(changed: () => void = () => {}): () => void {
  const { dataset } = document.documentElement;
  const apply = () => {
    const theme = isDark() ? "dark" : "light";
    if (dataset.theme === theme) return;
    dataset.theme = theme;
  };
  const watcher = new MutationObserver(changed);
  watcher.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const system = matchMedia(DARK);
  addEventListener("storage", apply);
  system.addEventListener("change", apply);
  apply();
  return () => {
    watcher.disconnect();
    removeEventListener("storage", apply);
    system.removeEventListener("change", apply);
  };
}

/** The zone in which Airflow shows times; undefined: the browser's. */
export function timeZone(): string | undefined {
  const zone = stored("timezone")?.replace(/^"|"$/g, "");
  if (!zone || zone === "local") return undefined;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return zone;
  } catch {
    return undefined;
  }
}
