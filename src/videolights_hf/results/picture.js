"use strict";
// What was found in a video as a picture that one can use: a player, and under it, on the player's time, the saliency curve
// of each sentence with its moments. The page of `videolights predict --html` and the app show it.

const VIDEOLIGHTS_COLORS = ["#0072b2", "#b34d00", "#007a58", "#a3447b", "#8a6100", "#2a7fb0"];

function videolightsClock(seconds, decimals = 1) {
  const scale = 10 ** decimals, units = Math.round(seconds * scale);
  const minutes = Math.floor(units / (60 * scale)), hours = Math.floor(minutes / 60);
  const rest = ((units % (60 * scale)) / scale).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return (hours ? hours + ":" : "") + String(minutes % 60).padStart(2, "0") + ":" + rest;
}

// Fills an element, and gives a function that shows a result there. A player that stands in the element already is used.
function videolightsPicture(root) {
  const add = (parent, name, attributes = {}, text) => {
    const isDrawn = ["svg", "path", "rect"].includes(name);
    const made = isDrawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  };
  root.classList.add("videolights");
  const player = root.querySelector("video") || add(root, "video");
  for (const [key, value] of [["controls", ""], ["preload", "metadata"], ["playsinline", ""]]) player.setAttribute(key, value);
  const problem = add(root, "p", {"class": "problem", role: "alert", hidden: ""});
  const rows = add(root, "div", {"class": "rows", role: "slider", tabindex: "0", "aria-label": "Time in the video"});
  const axis = add(root, "div", {"class": "axis", "aria-hidden": "true"});
  const details = add(root, "div", {"class": "details"});
  let cursor, duration = 0, step = 1, moments = [], stretch = null;

  // Times of the player: its own end, where it is known.
  const end = () => (Number.isFinite(player.duration) && player.duration > 0 ? player.duration : duration);
  const percent = time => Math.min(Math.max(time / (end() || 1), 0), 1) * 100 + "%";

  function endStretch() {
    stretch = null;
    for (const button of details.querySelectorAll(".loop")) button.setAttribute("aria-pressed", "false");
    for (const band of rows.querySelectorAll(".playing")) band.classList.remove("playing");
  }

  function seek(time) {
    endStretch();
    player.currentTime = Math.min(Math.max(time, 0), end());
  }

  function play(span, loops) {
    endStretch();
    stretch = {start: span.start, end: span.end, loops};
    if (span.band) span.band.classList.add("playing");
    if (loops) loops.setAttribute("aria-pressed", "true");
    player.currentTime = span.start;
    player.play().catch(() => {});
  }

  function follow() {
    const time = player.currentTime;
    // The end of the video may come before the end of its last moment.
    if (stretch && (time >= stretch.end || (player.ended && stretch.loops))) {
      if (stretch.loops) {
        player.currentTime = stretch.start;
        player.play().catch(() => {});
      } else {
        player.pause();
        endStretch();
      }
    }
    if (cursor) cursor.style.left = percent(time);
    rows.setAttribute("aria-valuenow", time.toFixed(1));
    const shown = moments.filter(moment => moment.start <= time && time < moment.end);
    rows.setAttribute("aria-valuetext", [videolightsClock(time), ...shown.map(moment => moment.name)].join(", "));
  }

  function followWhilePlaying() {
    follow();
    if (!player.paused && !player.ended) requestAnimationFrame(followWhilePlaying);
  }

  for (const event of ["timeupdate", "seeked", "ended"]) player.addEventListener(event, follow);
  player.addEventListener("play", () => requestAnimationFrame(followWhilePlaying));
  player.addEventListener("seeking", () => {
    const time = player.currentTime;
    if (stretch && (time < stretch.start - .5 || time > stretch.end + .5)) endStretch();
  });
  player.addEventListener("loadedmetadata", () => { problem.hidden = true; drawAll(); });
  player.addEventListener("error", () => {
    if (!player.getAttribute("src")) return;
    problem.textContent = "This browser cannot play the video: its file is gone, or of a format that browsers do not know. Moments and files to save are not affected.";
    problem.hidden = false;
  });

  const timeAt = event => {
    const box = rows.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * end();
  };
  let drags = false;
  rows.addEventListener("pointerdown", event => {
    if (event.button || event.target.closest(".band")) return;
    drags = true;
    rows.setPointerCapture(event.pointerId);
    seek(timeAt(event));
  });
  rows.addEventListener("pointermove", event => { if (drags) seek(timeAt(event)); });
  for (const event of ["pointerup", "pointercancel"]) rows.addEventListener(event, () => { drags = false; });
  rows.addEventListener("keydown", event => {
    const steps = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10}[event.key];
    if (steps) seek(player.currentTime + steps * step);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(end());
    else if (event.key === " ") { if (player.paused) player.play().catch(() => {}); else player.pause(); }
    else return;
    event.preventDefault();
  });

  function curve(saliency, clipLength, isClosed) {
    const low = Math.min(...saliency), range = Math.max(...saliency) - low || 1;
    const points = saliency.map((value, index) => [(index + .5) * clipLength, 95 - 90 * (value - low) / range]);
    const line = points.map(([x, y], index) => (index ? "L" : "M") + x + " " + y).join("");
    return isClosed && points.length ? line + "L" + points.at(-1)[0] + " 100L" + points[0][0] + " 100Z" : line;
  }

  function drawRow(found, color) {
    const row = add(rows, "div", {"class": "row", style: "--color:" + color});
    const query = add(row, "p", {"class": "query"});
    add(query, "span", {"class": "mark"});
    query.append(found.query);
    const svg = add(row, "svg", {viewBox: "0 0 " + (end() || 1) + " 100", preserveAspectRatio: "none", "aria-hidden": "true"});
    const strong = found.moments.length ? found.moments[0].score / 2 : 0;
    for (const moment of found.moments.filter(one => one.score >= strong))
      add(svg, "rect", {x: moment.start, y: 0, width: moment.end - moment.start, height: 100});
    if (found.saliency.length) {
      add(svg, "path", {"class": "area", d: curve(found.saliency, found.clip_length, true)});
      add(svg, "path", {d: curve(found.saliency, found.clip_length)});
    }
    const bands = add(row, "div", {"class": "bands", "aria-hidden": "true"});
    // Where moments overlap, the better one stands above.
    const lanes = [];
    for (const moment of found.moments) {
      let lane = lanes.findIndex(others => others.every(other => moment.end <= other.start || moment.start >= other.end));
      if (lane < 0) lane = lanes.push([]) - 1;
      lanes[lane].push(moment);
      const style = "left:" + percent(moment.start) + ";width:calc(" + percent(moment.end) + " - " + percent(moment.start) + ");top:calc(1.5rem * " + lane + " + .15rem)";
      moment.band = add(bands, "div", {"class": moment.score < strong ? "band weak" : "band", style, title: moment.name}, String(moment.number));
      moment.band.addEventListener("click", () => play(moment));
    }
    bands.style.height = 1.5 * lanes.length + "rem";
  }

  function drawAxis() {
    const most = Math.max(2, Math.min(8, Math.floor(axis.clientWidth / 70) || 6));
    const widths = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
    const width = widths.find(one => end() / one <= most) || end() / most;
    axis.replaceChildren();
    for (let time = 0; time < end() - width / 2; time += width)
      add(axis, "span", {style: "left:" + percent(time)}, videolightsClock(time, 0));
    add(axis, "span", {style: "left:100%"}, videolightsClock(end(), 0));
  }

  function drawDetails(found, color) {
    const section = add(details, "section", {style: "--color:" + color, "aria-label": found.query});
    const heading = add(section, "h3");
    add(heading, "span", {"class": "mark"});
    heading.append(found.query);
    if (found.low) add(section, "p", {}, "All scores are low: the video probably does not show this.");
    else if (!found.moments.length && !found.highlights.length) add(section, "p", {}, "Nothing stands out.");
    const list = add(section, "ol");
    for (const moment of found.moments) {
      const item = add(list, "li");
      const times = videolightsClock(moment.start) + " to " + videolightsClock(moment.end);
      const button = add(item, "button", {type: "button", "class": "moment", "aria-label": "Play " + moment.name + ", " + times + ", score " + moment.score.toFixed(2)},
        moment.number + ": " + times + " (" + moment.score.toFixed(2) + ")");
      button.addEventListener("click", () => play(moment));
      const loop = add(item, "button", {type: "button", "class": "loop", "aria-pressed": "false", "aria-label": "Loop " + moment.name, title: "Play in a loop"}, "Loop");
      loop.addEventListener("click", () => { if (loop.getAttribute("aria-pressed") === "true") endStretch(); else play(moment, loop); });
    }
    if (!found.highlights.length) return;
    const shown = add(section, "ul", {"aria-label": "Highlights of: " + found.query});
    found.highlights.forEach((highlight, index) => {
      const time = videolightsClock(highlight.start);
      const button = add(add(shown, "li"), "button", {type: "button", "class": "highlight", "aria-label": "Play highlight " + (index + 1) + ", " + time});
      if (highlight.picture) add(button, "img", {src: highlight.picture, alt: ""});
      button.append((highlight.picture ? "" : "Highlight ") + time);
      button.addEventListener("click", () => play(highlight));
    });
  }

  let predictions = [];
  function drawAll() {
    rows.replaceChildren();
    rows.hidden = axis.hidden = !predictions.length;
    if (!predictions.length) return;
    predictions.forEach((found, index) => drawRow(found, VIDEOLIGHTS_COLORS[index % VIDEOLIGHTS_COLORS.length]));
    cursor = add(rows, "div", {"class": "cursor"});
    rows.setAttribute("aria-valuemin", "0");
    rows.setAttribute("aria-valuemax", end().toFixed(1));
    drawAxis();
    follow();
  }

  return function show(data) {
    endStretch();
    predictions = data.predictions;
    moments = predictions.flatMap(found => found.moments);
    for (const found of predictions)
      found.moments.forEach((moment, index) => {
        moment.number = index + 1;
        moment.name = "moment " + (index + 1) + " of: " + found.query;
      });
    duration = Math.max(0, ...predictions.map(found => found.duration));
    step = predictions.length ? predictions[0].clip_length : 1;
    if (data.video !== undefined && player.getAttribute("src") !== data.video) {
      problem.hidden = true;
      if (data.video) player.setAttribute("src", data.video);
      else player.removeAttribute("src");
      player.setAttribute("aria-label", "Video: " + data.title);
      player.load();
    }
    details.replaceChildren();
    predictions.forEach((found, index) => drawDetails(found, VIDEOLIGHTS_COLORS[index % VIDEOLIGHTS_COLORS.length]));
    drawAll();
  };
}
