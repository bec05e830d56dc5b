/** Numbers, amounts, times and durations as a person reads them. */
import type { Counts } from "./contract";
import { timeZone } from "./theme";

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

export const count = (value: number): string => number.format(value);

/** "1 loss", "3 losses". */
export function many(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`;
}

/** "16 on spot and 24 on on-demand": the pools that have any, in their order. */
export function byPool(counts: Counts, pools: string[]): string {
  const parts = pools.filter((pool) => counts[pool]).map((pool) => `${count(counts[pool] ?? 0)} on ${pool}`);
  return listed(parts);
}

export function listed(parts: string[]): string {
  return parts.length < 2 ? (parts[0] ?? "") : `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;
}

export const sum = (counts: Counts): number => Object.values(counts).reduce((all, each) => all + each, 0);

/** An amount of the ledger, which is an exact decimal: "1.23 USD"; small ones with four digits. */
export function money(amount: string | null | undefined, currency: string | null): string {
  const value = Number(amount);
  if (amount == null || !Number.isFinite(value)) return "–";
  const digits = value !== 0 && Math.abs(value) < 1 ? 4 : 2;
  const shown = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return currency ? `${shown} ${currency}` : shown;
}

/** "27 %" of a whole; empty when there is no whole. */
export function share(part: string | null, whole: string | null): string {
  const [a, b] = [Number(part), Number(whole)];
  return b > 0 && Number.isFinite(a) ? `${Math.round((100 * a) / b)} %` : "";
}

/** "45 s", "12 min", "2 h 5 min", "3 d 4 h". */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 10) return s % 60 ? `${minutes} min ${s % 60} s` : `${minutes} min`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

export const seconds = (iso: string): number => Date.parse(iso) / 1000;

/** How long from one time to another; null: one of them is not known. */
export function between(since: string | null, until: string | null): number | null {
  return since && until ? seconds(until) - seconds(since) : null;
}

function shown(at: number | string, options: Intl.DateTimeFormatOptions): string {
  const date = new Date(typeof at === "number" ? at * 1000 : at);
  if (Number.isNaN(date.getTime())) return String(at);
  const zone = timeZone();
  return new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...(zone && { timeZone: zone }), ...options }).format(
    date,
  );
}

export const clock = (at: number | string): string => shown(at, { timeStyle: "medium" });
export const minute = (at: number | string): string => shown(at, { dateStyle: "medium", timeStyle: "short" });
export const day = (at: number | string): string => shown(at, { dateStyle: "medium", timeStyle: "medium" });
