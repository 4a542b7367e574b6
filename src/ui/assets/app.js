// What the pages of the dashboard can do beyond HTML. All of them work without it.
"use strict";

document.documentElement.classList.add("js");

// The server shows times in the zone of the browser: from the next page on.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const base = document.body.dataset.base;
if (zone && base) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `waypost_zone=${zone}; path=${base}; max-age=31536000; samesite=lax${secure}`;
}

const toast = document.getElementById("toast");
let toasted;
function say(text) {
  clearTimeout(toasted);
  toast.textContent = text;
  toasted = setTimeout(() => { toast.textContent = ""; }, 4000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https there is no clipboard for pages but this.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    await copy(button.dataset.copy);
    button.focus();
    say(button.dataset.copied);
  }
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens)?.showModal();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// The first reason why a form was refused is read out, and the next Tab goes to its link.
document.querySelector("[data-focus]")?.focus();
document.addEventListener("htmx:afterSettle", (event) => event.target.querySelector?.("[data-focus]")?.focus());

// htmx: what went wrong is said, and the page stays as it is.
document.addEventListener("htmx:sendError", () => say(document.body.dataset.offline));
document.addEventListener("htmx:timeout", () => say(document.body.dataset.offline));
document.addEventListener("htmx:responseError", (event) => {
  const { xhr, elt } = event.detail;
  if (xhr.status === 401 && elt.matches("form[method=post]")) {
    // The session has ended. Sent by the browser itself, a form leads to where one signs in, and is kept there.
    elt.submit();
    return;
  }
  const text = xhr.getResponseHeader("waypost-problem");
  say(text ? decodeURIComponent(text) : document.body.dataset.failed);
});

// Single keys do something unless that is switched off in the settings. A key that is a part of a character that is being composed never does.
const singleKeys = document.body.dataset.keys !== "off";

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (!singleKeys || typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "?") {
    document.getElementById("keys")?.showModal();
  } else if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (search) {
      search.focus();
      search.select();
    } else if (base) {
      location.href = `${base}/links#search`;
    }
  } else if (event.key === "n") {
    const field = document.querySelector("[data-new]");
    if (field) field.focus();
    else location.href = `${base}/`;
  } else {
    return;
  }
  event.preventDefault();
});

// ---- the list of links ----

// htmx replaces the list, so everything is looked up anew.
const rows = () => [...document.querySelectorAll("[data-row]")];

function go(to) {
  const all = rows();
  if (!all.length) return false;
  const from = all.findIndex((row) => row.classList.contains("here"));
  const row = all[Math.max(0, Math.min(all.length - 1, from < 0 ? 0 : from + to))];
  all.forEach((other) => other.classList.toggle("here", other === row));
  row.querySelector("[data-open]")?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  return true;
}

document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("[data-row]");
  if (row) rows().forEach((other) => other.classList.toggle("here", other === row));
});

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const inSearch = event.target.closest?.("[data-search]");
  if (inSearch && event.key !== "ArrowDown") return;
  if (!inSearch && event.target.closest?.("input:not([type=checkbox]), textarea, select")) return;
  // Arrows are no characters.
  if (!singleKeys && event.key.length === 1) return;
  if (event.key === "j" || event.key === "ArrowDown") {
    if (go(1)) event.preventDefault();
  } else if (event.key === "k" || event.key === "ArrowUp") {
    if (go(-1)) event.preventDefault();
  } else if (event.key === "x") {
    document.querySelector("[data-row].here input[name=link]")?.click();
  }
});

// What can be done with the selected links is shown when there are some.
function selected() {
  const bar = document.querySelector("[data-bulk]");
  if (!bar) return;
  const boxes = [...document.querySelectorAll("[data-row] input[name=link]")];
  const all = bar.querySelector("[data-select-all]")?.checked ?? false;
  const count = boxes.filter((box) => box.checked).length;
  boxes.forEach((box) => {
    box.closest("[data-row]").classList.toggle("chosen", all || box.checked);
  });
  bar.querySelector("[data-selected]").textContent = count.toLocaleString(document.documentElement.lang);
  bar.hidden = !all && !count;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-select-page]")) {
    document.querySelectorAll("[data-row] input[name=link]").forEach((box) => { box.checked = event.target.checked; });
  }
  if (event.target.closest("#selection")) selected();
});
document.addEventListener("htmx:afterSettle", selected);
// Boxes keep their ticks when one comes back to a page.
window.addEventListener("pageshow", selected);
selected();

// Further pages come by themselves up to here; then a click leads on, so that the page does not grow without end.
const PAGES_MAX = 20;
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.id === "next" && document.querySelectorAll("#rows > tbody").length >= PAGES_MAX) event.preventDefault();
});

// The address bar names the page that is seen, so that a bookmark, a reload and the way back lead there.
let placing;
let leaving = false;
function place() {
  placing = undefined;
  if (leaving) return;
  const bodies = [...document.querySelectorAll("#rows > tbody[data-page]")];
  const seen = bodies.filter((body) => body.getBoundingClientRect().top < innerHeight / 3).pop() ?? bodies[0];
  if (seen && bodies.length > 1 && seen.dataset.page !== location.pathname + location.search) {
    history.replaceState(history.state, "", seen.dataset.page);
  }
}
document.addEventListener("scroll", () => { placing ??= setTimeout(place, 150); }, { passive: true });

// Who opens a link comes back to its row.
document.addEventListener("click", (event) => {
  const row = event.target.closest("[data-open]")?.closest("[data-row]");
  if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    // A page that is slow to come must not have the address of this row replaced meanwhile.
    leaving = true;
    history.scrollRestoration = "manual";
    history.replaceState(history.state, "", `${row.closest("tbody").dataset.page}#${row.id}`);
  }
});
window.addEventListener("pageshow", () => { leaving = false; });
if (location.hash.startsWith("#l-")) {
  const row = document.getElementById(location.hash.slice(1));
  row?.scrollIntoView({ block: "center" });
  row?.querySelector("[data-open]")?.focus({ preventScroll: true });
} else if (location.hash === "#search") {
  document.querySelector("[data-search]")?.focus();
}
