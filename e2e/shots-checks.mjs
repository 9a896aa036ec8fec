// What shots.mjs looks at inside a page. These functions run in the browser.

function measure() {
  const controls = "a[href], button, input:not([type=hidden]), select, textarea, summary";
  const rect = (node) => { const r = node.getBoundingClientRect(); return { left: Math.round(r.left), top: Math.round(r.top), width: Math.round(r.width), height: Math.round(r.height), bottom: Math.round(r.bottom) }; };
  const name = (node) => `${node.tagName.toLowerCase()} “${(node.innerText || node.name || node.id || "").trim().slice(0, 40)}”`;
  const small = [];
  for (const node of document.querySelectorAll(controls)) {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.classList.contains("unseen")) continue;
    // The label of a choice is its target.
    const target = node.matches("[type=radio], [type=checkbox]") ? node.closest("label") : node;
    const r = target.getBoundingClientRect();
    if (r.width + 0.5 < 44 || r.height + 0.5 < 44) small.push(`${name(node)} ${Math.round(r.width)}x${Math.round(r.height)}`);
  }
  const root = document.documentElement;
  const overflow = root.scrollWidth - root.clientWidth;
  let wide = "";
  if (overflow > 0) {
    for (const node of document.querySelectorAll("body *")) {
      const r = node.getBoundingClientRect();
      if (r.right > root.clientWidth + 1 || r.left < -1) { wide = name(node) + " ." + node.className; break; }
    }
  }
  const freeze = document.getElementById("freeze");
  return { violations: window.__violations ?? [], overflow, wide, small, freeze: freeze ? rect(freeze) : null, dir: root.dir, height: root.scrollHeight };
}

async function axe() {
  const result = await window.axe.run(document, {
    runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] },
    rules: { "color-contrast-enhanced": { enabled: true } },
    resultTypes: ["violations"],
  });
  return result.violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).join("; ")}`);
}

function mark() {
  const controls = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const out = [];
  const groups = new Set();
  let n = 0;
  for (const node of document.querySelectorAll(controls)) {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.disabled || node.tabIndex < 0) continue;
    if (node.type === "radio") { // one stop for a group
      const group = node.form?.action + node.name;
      if (groups.has(group)) continue;
      groups.add(group);
      for (const other of document.querySelectorAll(`input[type=radio][name="${node.name}"]`)) other.dataset.mark = `g${n}`;
      out.push({ mark: `g${n}`, what: `radio ${node.name}` });
    } else {
      node.dataset.mark = `m${n}`;
      out.push({ mark: `m${n}`, what: `${node.tagName.toLowerCase()} “${(node.innerText || node.name || "").trim().slice(0, 40)}”` });
    }
    n++;
  }
  document.activeElement?.blur();
  window.getSelection()?.removeAllRanges();
  window.scrollTo(0, 0);
  return out;
}

function focus() {
  const node = document.activeElement;
  if (!node || node === document.body || node === document.documentElement) return null;
  const shows = (n) => { const s = getComputedStyle(n); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; };
  const r = node.getBoundingClientRect();
  const x = Math.min(Math.max(r.left + r.width / 2, 1), innerWidth - 1), y = r.top + Math.min(r.height / 2, 22);
  const top = document.elementFromPoint(x, y);
  const inside = y >= 0 && y <= innerHeight && top && (node.contains(top) || top.contains(node) || top.closest("label")?.contains(node));
  return { mark: node.dataset.mark ?? node.tagName, what: `${node.tagName.toLowerCase()} “${(node.innerText || node.name || "").trim().slice(0, 40)}”`,
    shown: shows(node) || (node.closest("label") !== null && shows(node.closest("label"))) || node.tagName === "IFRAME", hidden: !inside && node.tagName !== "IFRAME" };
}

export const page = { measure, axe, mark, focus };
