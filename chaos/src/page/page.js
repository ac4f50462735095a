"use strict";
// A line at the pointer through all lanes, and zoom. The page is whole without it.
(function () {
  var SVG = "http://www.w3.org/2000/svg";
  document.querySelectorAll("[data-copy]").forEach(function (button) {
    if (!navigator.clipboard) { return; }
    button.hidden = false;
    button.addEventListener("click", function () {
      var text = document.getElementById(button.dataset.copy).textContent;
      navigator.clipboard.writeText(text).then(function () { button.textContent = "Copied"; });
    });
  });
  var all = document.getElementById("lanes");
  if (!all) { return; }
  var end = Number(all.dataset.end), gutter = Number(all.dataset.gutter);
  var plot = Number(all.dataset.plot), bottom = Number(all.dataset.bottom);
  var from = 0, until = end, down = null;
  var rows = all.querySelectorAll("svg.p"), labels = all.querySelectorAll(".t");
  var ticks = document.getElementById("ticks"), cursor = document.getElementById("cursor");
  var line = cursor.querySelector("path"), flag = cursor.querySelector("rect"), told = cursor.querySelector("text");
  var top = Number(ticks.querySelector("path").getAttribute("d").match(/ (.*)V/)[1]);
  var drag = document.createElementNS(SVG, "rect");
  drag.setAttribute("class", "span");
  cursor.insertBefore(drag, line);
  var wide = Array.prototype.map.call(labels, function (label) {
    return label.tagName === "text" ? label.getComputedTextLength() + 6 : 0;
  });

  function px(ms) { return gutter + (ms - from) / (until - from) * plot; }
  function text(ms, step) {
    if (step < 1) { return ms.toFixed(2) + " ms"; }
    var places = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
    return (ms / 1000).toFixed(places) + " s";
  }
  function put(name, where, inside) {
    var made = document.createElementNS(SVG, name);
    Object.keys(where).forEach(function (key) { made.setAttribute(key, where[key]); });
    if (inside) { made.textContent = inside; }
    ticks.appendChild(made);
  }
  function draw() {
    rows.forEach(function (row) {
      var box = row.getAttribute("viewBox").split(" ");
      row.setAttribute("viewBox", [from, 0, until - from, box[3]].join(" "));
    });
    labels.forEach(function (label, at) {
      var begin = px(Number(label.dataset.t)), seen = begin >= gutter - 1 && begin <= gutter + plot + 1;
      if (label.tagName !== "text") {
        label.setAttribute("transform", "translate(" + begin + " 0)");
      } else if (label.classList.contains("before")) {
        label.setAttribute("x", begin - 4);
        seen = seen && begin - wide[at] > gutter;
      } else if (label.dataset.until === undefined) {
        label.setAttribute("x", begin + 4);
      } else {
        var left = Math.max(begin, gutter);
        label.setAttribute("x", left + 4);
        seen = Math.min(px(Number(label.dataset.until)), gutter + plot) - left >= wide[at];
      }
      label.setAttribute("visibility", seen ? "visible" : "hidden");
    });
    ticks.textContent = "";
    var rough = (until - from) / 14, unit = Math.pow(10, Math.floor(Math.log10(rough)));
    var step = [1, 2, 5, 10].map(function (one) { return one * unit; }).find(function (one) { return one >= rough; });
    for (var n = Math.ceil(from / step); n * step <= until; n += 1) {
      var x = px(n * step);
      put("path", { d: "M" + x + " " + top + "V" + bottom });
      put("text", { x: x, y: top - 8 }, text(n * step, step));
      put("text", { x: x, y: bottom + 16 }, text(n * step, step));
    }
  }
  function zoom(begin, finish) {
    var length = Math.min(Math.max(finish - begin, Math.min(20, end)), end);
    from = Math.min(Math.max(begin, 0), end - length);
    until = from + length;
    draw();
  }
  function at(event) {
    var box = all.getBoundingClientRect();
    var x = (event.clientX - box.left) / box.width * all.viewBox.baseVal.width;
    var share = Math.min(Math.max((x - gutter) / plot, 0), 1);
    return { inside: x >= gutter && x <= gutter + plot, ms: from + share * (until - from) };
  }
  function show(event) {
    var here = at(event);
    if (!here.inside && down === null) { cursor.setAttribute("visibility", "hidden"); return; }
    var x = px(here.ms);
    cursor.setAttribute("visibility", "visible");
    line.setAttribute("d", "M" + x + " 18V" + bottom);
    flag.setAttribute("x", x - 37);
    flag.setAttribute("y", bottom + 4);
    told.setAttribute("x", x);
    told.setAttribute("y", bottom + 16);
    told.textContent = (here.ms / 1000).toFixed(3) + " s";
    var other = down === null ? x : px(down);
    drag.setAttribute("x", Math.min(x, other));
    drag.setAttribute("width", Math.abs(x - other));
    drag.setAttribute("y", 18);
    drag.setAttribute("height", bottom - 18);
  }
  all.addEventListener("pointermove", show);
  all.addEventListener("pointerleave", function () { cursor.setAttribute("visibility", "hidden"); });
  all.addEventListener("pointerdown", function (event) {
    var here = at(event);
    if (event.pointerType === "mouse" && event.button === 0 && here.inside) { down = here.ms; }
  });
  window.addEventListener("pointerup", function (event) {
    if (down === null) { return; }
    var begun = down, here = at(event).ms;
    down = null;
    if (Math.abs(px(here) - px(begun)) > 6) { zoom(Math.min(begun, here), Math.max(begun, here)); }
    show(event);
  });
  all.addEventListener("dblclick", function () { zoom(0, end); });
  // On a narrow screen the picture is wider than the page: its names stay in sight.
  var stays = document.getElementById("stays"), box = all.parentNode;
  box.addEventListener("scroll", function () {
    var left = box.scrollLeft / all.getBoundingClientRect().width * all.viewBox.baseVal.width;
    stays.setAttribute("transform", "translate(" + left + " 0)");
  });
  var tools = document.querySelector(".tools");
  tools.hidden = false;
  tools.addEventListener("click", function (event) {
    var middle = (from + until) / 2, half = (until - from) / 2;
    switch (event.target.dataset.zoom) {
      case "in": zoom(middle - half / 2, middle + half / 2); break;
      case "out": zoom(middle - half * 2, middle + half * 2); break;
      case "all": zoom(0, end); break;
    }
  });
}());
