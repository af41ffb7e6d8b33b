// Numbers and times as people read them. Nothing here touches the page.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** A number of things. */
export const count = (n) => whole.format(n ?? 0);

/** Things in a second: one digit behind the point below 100. */
export const rate = (n) => (n === 0 ? "0" : n < 100 ? tenth.format(n) : whole.format(n));

/** Bytes, in powers of 1024. */
export function bytes(n) {
  if (n == null) return "–";
  let unit = 0;
  while (n >= 1023.5 && unit < 4) {
    n /= 1024;
    unit += 1;
  }
  const digits = unit === 0 ? Math.round(n) : n < 10 ? n.toFixed(1) : Math.round(n);
  return `${digits} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** Bytes in a second. */
export const byteRate = (n) => `${bytes(n)}/s`;

/** A duration of the server: seconds, null, or "over" beyond the last bucket, which is `slowest`. */
export function took(value, slowest = 30) {
  if (value == null) return "–";
  if (value === "over") return `> ${slowest} s`;
  if (value < 0.000005) return "< 0.01 ms";
  if (value < 0.001) return `${(value * 1e3).toFixed(2)} ms`;
  if (value < 0.1) return `${(value * 1e3).toFixed(1)} ms`;
  if (value < 1) return `${(value * 1e3).toFixed(0)} ms`;
  return `${value.toFixed(value < 10 ? 2 : 1)} s`;
}

/** The same to sort by. */
export const tookOrder = (value) => (value == null ? -1 : value === "over" ? Infinity : value);

/** A part of 1. */
export function percent(part) {
  if (part == null || Number.isNaN(part)) return "–";
  const value = part * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value < 10 && value % 1 !== 0 ? value.toFixed(1) : Math.round(value)} %`;
}

/** A span in seconds, in its two largest units. */
export function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [size, unit] = parts[first];
  const rest = parts[first + 1];
  const more = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${more > 0 ? ` ${more} ${rest[1]}` : ""}`;
}

/** How long ago; both in seconds since the epoch. */
export function ago(then, now) {
  if (!then) return "never";
  const seconds = Math.max(0, Math.round(now - then));
  return seconds < 5 ? "now" : seconds < 60 ? `${seconds - (seconds % 5)} s ago` : `${span(seconds - (seconds % 60))} ago`;
}

const two = (n) => String(n).padStart(2, "0");

/** The time of day of milliseconds since the epoch, as the viewer's clock has it. */
export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** Date and time of the same. */
export function day(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock(ms)}`;
}
