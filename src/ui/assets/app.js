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

// htmx: what went wrong is said, and the page stays as it is.
document.addEventListener("htmx:sendError", () => say(document.body.dataset.offline));
document.addEventListener("htmx:timeout", () => say(document.body.dataset.offline));
document.addEventListener("htmx:responseError", (event) => {
  const text = event.detail.xhr.getResponseHeader("waypost-problem");
  say(text ? decodeURIComponent(text) : document.body.dataset.failed);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
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

// A change of many links is made in parts, and goes on by itself.
document.querySelector("form[data-goes-on]")?.requestSubmit();
