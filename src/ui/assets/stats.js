// Pages with statistics: a live counter, and names of countries and languages. Without it the numbers are those of the last load, and the names are codes.
"use strict";

{
  const language = document.documentElement.lang;

  for (const element of document.querySelectorAll("[data-names]")) {
    const target = element.querySelector("bdi");
    const code = target.textContent.trim();
    try {
      const name = new Intl.DisplayNames([language], { type: element.dataset.names }).of(code);
      if (name && name !== code) {
        target.textContent = name;
        element.title = code;
      }
    } catch {
      // It is no code of a country or a language.
    }
  }

  const live = document.querySelector("[data-live]");
  if (live) {
    const number = new Intl.NumberFormat(language);
    const state = live.querySelector("[data-state]");
    const source = new EventSource(live.dataset.live);
    source.addEventListener("open", () => { state.hidden = false; });
    source.addEventListener("error", () => { state.hidden = true; });
    source.addEventListener("clicks", (event) => {
      const totals = JSON.parse(event.data);
      live.querySelector("[data-people]").textContent = number.format(totals.totalClicks);
      live.querySelector("[data-bots]").textContent = number.format(totals.botClicks);
    });
    addEventListener("pagehide", () => source.close());
  }
}
