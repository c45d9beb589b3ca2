// Search over the page's text, folded or not. Matches are painted, so the document stays as it is.
window.Find = (function () {
  "use strict";
  const MOST = 5000;
  const BLOCKS = "h1, summary, pre, p, .thought, .said, .note, .name, td, th, .walk span";
  let blocks = null, matches = [], at = -1, more = false;

  function nodesOf(block) {
    const nodes = [], starts = [];
    const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
    let text = "";
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      nodes.push(node);
      starts.push(text.length);
      text += node.data;
    }
    return { nodes, starts, text };
  }
  function index() {
    const all = [...document.querySelectorAll("#main :is(" + BLOCKS + ")")];
    const known = new Set(all);
    return all.filter(function (block) { // a part of another one would be found twice
      for (let up = block.parentElement; up; up = up.parentElement) if (known.has(up)) return false;
      return true;
    }).map(nodesOf);
  }
  function place(block, offset) {
    let low = 0, high = block.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (block.starts[middle] <= offset) low = middle; else high = middle - 1;
    }
    return [block.nodes[low], offset - block.starts[low]];
  }
  function rangeOf(match) {
    const range = document.createRange();
    range.setStart(...place(match.block, match.start));
    const [node, offset] = place(match.block, match.end - 1);
    range.setEnd(node, offset + 1);
    return range;
  }
  function paint() {
    if (!CSS.highlights) return;
    CSS.highlights.set("found", new Highlight(...matches.map(rangeOf)));
    CSS.highlights.delete("now");
  }
  function search(words) {
    matches = [];
    at = -1;
    more = false;
    if (words) {
      blocks = blocks || index();
      const pattern = new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "giu");
      for (const block of blocks) {
        for (const hit of block.text.matchAll(pattern)) {
          if (matches.length === MOST) { more = true; break; }
          matches.push({ block, start: hit.index, end: hit.index + hit[0].length });
        }
        if (more) break;
      }
    }
    paint();
    return state();
  }
  function go(by) {
    if (!matches.length) return state();
    at = at < 0 ? (by > 0 ? 0 : matches.length - 1) : (at + by + matches.length) % matches.length;
    const range = rangeOf(matches[at]);
    reveal(range.startContainer.parentElement);
    if (CSS.highlights) CSS.highlights.set("now", new Highlight(range));
    range.startContainer.parentElement.scrollIntoView({ block: "center" });
    const box = range.getBoundingClientRect(); // of a long block its own middle is not the match
    if (box.height && (box.top < 60 || box.bottom > innerHeight)) scrollBy(0, box.top - innerHeight / 2);
    return state();
  }
  function reveal(element) {
    for (let up = element; up; up = up.parentElement) {
      if (up.tagName === "DETAILS" && !(element.closest("summary") && element.closest("summary").parentElement === up)) up.open = true;
    }
  }
  function state() {
    return { count: matches.length, at, more };
  }
  function forget() { blocks = null; } // the page has changed
  return { search, go, reveal, forget };
})();
