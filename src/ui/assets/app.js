// What the pages of the dashboard can do beyond HTML. All of them work without it.
"use strict";

// The server shows times in the zone of the browser.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  const base = document.querySelector(".brand").pathname;
  document.cookie = `waypost_zone=${zone}; path=${base}; max-age=31536000; samesite=lax`;
}
