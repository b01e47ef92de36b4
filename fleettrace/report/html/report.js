"use strict";
// Shows the data block of the page. Its strings are untrusted: each becomes a text node, never markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { run, totals, keys, hosts, templates } = data;
  const NONE = "–";
  const HOT = 1.5;
  const NEARLY_ALL = 0.9;
  const WARM = 1.2;
  const narrow = matchMedia("(max-width: 40rem)").matches;

  // ---- text and numbers --------------------------------------------------------------------------------------------
  const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\u115f\u1160\u2800\u3164\uffa0]/gu;
  const safe = (text) =>
    String(text).replace(UNSEEN, (char) => {
      const code = char.codePointAt(0);
      return code > 0xffff ? "\\U" + code.toString(16).padStart(8, "0") : "\\u" + code.toString(16).padStart(4, "0");
    });
  const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
  const count = (n) => (n == null ? NONE : grouped.format(n));
  const rate = (n) => (n == null ? NONE : n < 10 ? n.toFixed(1) : grouped.format(n));
  const percent = (n) => (n == null ? NONE : n > 0 && n < 0.0005 ? "< 0.1 %" : (100 * n).toFixed(1) + " %");
  const times = (n) => (n == null ? NONE : n.toFixed(n < 10 ? 2 : 0) + " ×");
  const seconds = (n) => (n == null ? NONE : Number(n.toFixed(1)) + " s");
  const ttl = (n) => (n == null ? NONE : n === -1 ? "never" : count(n) + " s");
  const several = (word) => (word.endsWith("y") && word !== "key" ? word.slice(0, -1) + "ies" : word + "s");
  const plural = (n, word) => count(n) + " " + (n === 1 ? word : several(word));
  const bytes = (n) => {
    if (n == null) return NONE;
    let unit = 0;
    while (n >= 1000 && unit < 4) { n /= 1000; unit++; }
    return (unit && n < 10 ? n.toFixed(1) : n.toFixed(0)) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
  };
  const level = (load) => (load >= HOT ? "hot" : load >= WARM ? "warm" : "");
  const at = (columns, field, row) => (columns[field] ? columns[field][row] : null);

  // ---- elements ----------------------------------------------------------------------------------------------------
  const el = (tag, look, ...children) => {
    const node = document.createElement(tag);
    if (look) node.className = look;
    node.append(...children.filter((child) => child != null && child !== ""));
    return node;
  };
  const svg = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    return node;
  };
  const name = (text) => el("bdi", "name", safe(text));
  const pill = (text, look) => el("span", "pill " + (look || ""), safe(text));
  const section = (id) => document.getElementById(id);

  const track = (part, look, tick, small) => {
    const fill = el("i", look);
    fill.style.width = Math.min(100, 100 * part).toFixed(1) + "%";
    const node = el("span", small ? "track small" : "track", fill);
    if (tick != null) {
      const line = el("u");
      line.style.left = Math.min(100, 100 * tick).toFixed(1) + "%";
      node.append(line);
    }
    return node;
  };

  const timeline = (values, from, width, height) => {
    if (!values || !values.length) return NONE;
    const top = Math.max(...values);
    const step = width / values.length;
    const paths = ["", ""];
    values.forEach((value, i) => {
      if (!value) return;
      const tall = Math.max(1, (height * value) / top);
      paths[from != null && i >= from ? 1 : 0] +=
        `M${(i * step).toFixed(1)} ${height}v${(-tall).toFixed(1)}h${Math.max(0.6, step - 1).toFixed(1)}v${tall.toFixed(1)}z`;
    });
    const node = svg("svg", { class: "timeline", width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    node.setAttribute("preserveAspectRatio", "none");
    node.setAttribute("aria-label", "requests over time, at most " + count(top) + " in one bar");
    node.append(svg("line", { x1: 0, x2: width, y1: height, y2: height }));
    paths.forEach((d, odd) => d && node.append(svg("path", odd ? { d, class: "odd" } : { d })));
    return node;
  };

  const facts = (pairs) => {
    const list = el("dl");
    for (const [term, value] of pairs) if (value != null && value !== "") list.append(el("dt", "", term), el("dd", "", value));
    return list;
  };

  const askedBy = (columns, row) => {
    const clients = at(columns, "clients", row);
    if (!clients) return null;
    const list = el("span");
    clients.forEach(([client, n, share], i) => list.append(i ? el("br") : "", name(client),
      el("span", "figure", `${count(n)}, ${percent(share)}` + (share >= NEARLY_ALL && client !== "unix" ? ", perhaps a proxy or NAT" : ""))));
    for (const [words, field] of [["others", "clients_others"], ["unknown", "clients_unknown"]]) {
      const n = at(columns, field, row);
      if (n) list.append(list.childNodes.length ? el("br") : "", words, el("span", "figure", count(n)));
    }
    return list.childNodes.length ? list : "none";
  };

  // ---- a table that sorts, filters and pages -----------------------------------------------------------------------
  // columns: {label, value(row), cell(row), num, look, title}; rows are indices into the data's columns.
  const table = ({ into, noun, n, columns, text, detail, filters, sort, page, note }) => {
    const state = { sort, up: false, page: 0, filter: 0, query: "" };
    const haystack = new Array(n);
    const search = el("input");
    search.type = "search";
    search.placeholder = "Search " + several(noun);
    search.setAttribute("aria-label", "Search " + several(noun));
    const tools = el("div", "tools", search);
    if (filters) {
      const select = el("select");
      select.setAttribute("aria-label", "Filter " + several(noun));
      filters.forEach(([label], i) => { const option = el("option", "", label); option.value = i; select.append(option); });
      select.addEventListener("change", () => { state.filter = Number(select.value); state.page = 0; draw(); });
      tools.append(select);
    }
    const heading = into.querySelector("h2");
    into.append(el("div", "head", el("div", "", heading, note ? el("p", "muted", note) : ""), tools));

    const body = el("tbody");
    const heads = columns.map((column, i) => {
      const button = el("button", "", column.label);
      button.type = "button";
      if (column.title) button.title = column.title;
      const head = el("th", (column.num ? "num " : "") + (column.look || ""), column.label ? button : "");
      head.scope = "col";
      button.addEventListener("click", () => {
        state.up = state.sort === i ? !state.up : Boolean(column.ascending);
        state.sort = i;
        state.page = 0;
        draw();
      });
      return head;
    });
    const none = el("p", "none", "Nothing matches.");
    const back = el("button", "", "‹ Previous");
    const on = el("button", "", "Next ›");
    const where = el("span", "muted");
    back.addEventListener("click", () => { state.page--; draw(); });
    on.addEventListener("click", () => { state.page++; draw(); });
    const pager = el("div", "pager", where, back, on);
    into.append(el("div", "scroll", el("table", "", el("thead", "", el("tr", "", ...heads)), body)), none, pager);

    const chosen = () => {
      const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
      const keep = filters ? filters[state.filter][1] : null;
      const rows = [];
      for (let row = 0; row < n; row++) {
        if (keep && !keep(row)) continue;
        if (words.length) {
          const hay = (haystack[row] ??= text(row).toLowerCase());
          if (!words.every((word) => hay.includes(word))) continue;
        }
        rows.push(row);
      }
      const value = columns[state.sort].value;
      const values = new Map(rows.map((row) => [row, value(row)]));
      const sign = state.up ? 1 : -1;
      return rows.sort((a, b) => {
        const x = values.get(a), y = values.get(b);
        if (x == null || y == null) return (x == null) - (y == null) || a - b; // Unknown values sort last in both directions.
        return (x < y ? -sign : x > y ? sign : 0) || a - b;
      });
    };

    const line = (row) => {
      const cells = columns.map((c) => el("td", (c.num ? "num " : "") + (c.look || ""), c.cell(row)));
      const node = el("tr", "row", ...cells);
      node.tabIndex = 0;
      node.setAttribute("aria-expanded", "false");
      let open = null;
      const toggle = () => {
        if (open) { open.remove(); open = null; } else {
          const cell = el("td", "", detail(row));
          cell.colSpan = columns.length;
          open = el("tr", "detail", cell);
          node.after(open);
        }
        node.setAttribute("aria-expanded", String(Boolean(open)));
      };
      node.addEventListener("click", () => { if (!String(getSelection())) toggle(); });
      node.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); toggle(); }
      });
      return node;
    };

    const draw = () => {
      const rows = chosen();
      const pages = Math.max(1, Math.ceil(rows.length / page));
      state.page = Math.min(state.page, pages - 1);
      const first = state.page * page;
      const shown = rows.slice(first, first + page);
      body.replaceChildren(...shown.map(line));
      heads.forEach((head, i) => {
        if (i === state.sort) head.setAttribute("aria-sort", state.up ? "ascending" : "descending");
        else head.removeAttribute("aria-sort");
      });
      none.hidden = rows.length > 0;
      pager.hidden = rows.length <= page && rows.length === n;
      back.hidden = on.hidden = pages === 1;
      back.disabled = state.page === 0;
      on.disabled = state.page === pages - 1;
      where.textContent = rows.length ? `${count(first + 1)}–${count(first + shown.length)} of ${plural(rows.length, noun)}` : "";
    };
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => { state.query = search.value; state.page = 0; draw(); }, 60);
    });
    draw();
  };

  // ---- the fleet ---------------------------------------------------------------------------------------------------
  const tile = (value, label, look) => el("div", "tile " + (look || ""), el("b", "", value), el("span", "", label));

  const causeWords = (cause) => {
    const without = cause.load_without == null ? "" : " it would be at " + times(cause.load_without);
    if (cause.key != null) return ["without ", name(cause.key), without];
    if (cause.template != null) return ["without the family ", name(cause.template), without];
    if (cause.kind === "instances") return [`it runs more instances than others: per instance it is at ${times(cause.load_without)}`];
    return ["no single key or family is the cause: many keys are hotter here"];
  };

  const fleet = () => {
    document.getElementById("pattern").textContent = safe(run.pattern || "");
    const when = [run.started && run.started + " (UTC)", run.duration_s != null && seconds(run.duration_s) + " requested",
      "run " + run.id, run.version && "fleettrace " + run.version];
    document.getElementById("when").textContent = safe(when.filter(Boolean).join(" · "));
    const tiles = el("div", "tiles");
    const large = (n, words) => (n >= 1e7 ? compact.format(n) : words(n));
    tiles.append(tile(large(totals.rate, rate), "requests a second"), tile(large(totals.requests, count), "requests counted"));
    const failed = totals.hosts - totals.hosts_ok;
    tiles.append(tile(`${count(totals.hosts_ok)} of ${count(totals.hosts)}`, "hosts traced completely", failed ? "warm" : ""));
    tiles.append(tile(count(totals.instances), "instances"));
    const span = totals.window_s;
    if (span) {
      const range = span.min.toFixed(1) === span.max.toFixed(1) ? seconds(span.max) : `${span.min.toFixed(1)}–${seconds(span.max)}`;
      tiles.append(tile(range, "measured window"));
    }
    const seen = totals.coverage && totals.coverage.share;
    if (seen != null) tiles.append(tile(percent(Math.min(1, seen)), "of the requests that memcached counted", seen < 0.99 ? "warm" : ""));
    if (totals.imbalance != null) tiles.append(tile(times(totals.imbalance), "hottest host, relative to the mean", level(totals.imbalance)));
    tiles.append(tile(`${count(totals.certified)} of ${count(keys.n)}`, "keys certified in the top"));
    const into = section("fleet");
    into.append(tiles);
    for (let row = 0; row < hosts.n; row++) {
      const cause = at(hosts, "cause", row);
      if (!cause) continue;
      const mean = [el("b", "", name(hosts.host[row])), ` is at ${times(at(hosts, "load", row))} the mean; `];
      into.append(el("p", "notice hot", ...mean, ...causeWords(cause)));
    }
    const missing = totals.hosts_missing || [];
    const lost = missing.length || failed;
    if (lost) {
      const names = missing.length ? ": " + missing.slice(0, 8).join(", ") + (missing.length > 8 ? ", …" : "") : "";
      into.append(el("p", "notice bad", el("b", "", "Missing or incomplete: "),
        safe(`${plural(lost, "host")}${names}. Without their data, no upper bound for the fleet is known. `),
        Object.assign(el("a", "", "Why"), { href: "#problems" })));
    }
    if (totals.absent > 0) {
      into.append(el("p", "notice", `A key that is not listed can have had at most ${count(totals.absent)} requests on the hosts that were traced.`));
    }
  };

  // ---- hosts -------------------------------------------------------------------------------------------------------
  const stateLook = (state) => (state === "ok" ? "ok" : state === "partial" || state === "no-instances" ? "warm" : "bad");
  const keyText = (index) => (typeof index === "number" ? keys.key[index] : index);

  const statsFacts = (stats) => {
    const evicting = stats.evicting_class;
    const each = (n) => (n != null && stats.seconds ? rate(n / stats.seconds) + " a second" : null);
    const reasons = stats.unknown || [];
    return [
      ["hit ratio", stats.hit_ratio != null && percent(stats.hit_ratio)],
      ["evictions", stats.evictions != null && count(stats.evictions) + (stats.evictions ? ", " + each(stats.evictions) : "")],
      ["evicting class", evicting && `${count(evicting.number)}, ${percent(evicting.share)} of all` +
        (evicting.chunk_size == null ? "" : `, items of about ${bytes(evicting.chunk_size)}`)],
      ["connections", stats.curr_connections != null && count(stats.curr_connections) +
        (stats.max_connections == null ? "" : ` of ${count(stats.max_connections)}`)],
      ["bytes read", stats.bytes_read != null && bytes(stats.bytes_read)],
      ["bytes written", stats.bytes_written != null && bytes(stats.bytes_written)],
      ["memory", stats.memory_used != null && stats.memory_limit != null && `${bytes(stats.memory_used)} of ${bytes(stats.memory_limit)}`],
      ["threads", stats.threads != null && count(stats.threads)],
      ["unknown", reasons.length ? safe(reasons.join("; ")) : null],
    ].filter(([, shown]) => shown);
  };

  const statsTable = () => {
    const value = (field) => (row) => (at(hosts, "stats", row) || {})[field];
    const remarks = (row) => value("remarks")(row) || [];
    const number = (label, field, show, look) => ({ label, num: true, look, value: value(field), cell: (row) => show(value(field)(row)) });
    table({
      into: section("memcached"), noun: "host", n: hosts.n, sort: 2, page: 20,
      note: "What memcached itself counted over the window.",
      text: (row) => [hosts.host[row], ...remarks(row)].join(" "),
      filters: [["All hosts", null], ["Evicting", (row) => value("evictions_rate")(row) > 0], ["Refusing connections", (row) => value("refused_connections")(row) > 0]],
      columns: [
        { label: "Host", ascending: true, value: (row) => hosts.host[row], cell: (row) => name(hosts.host[row]) },
        number("Hits", "hit_ratio", percent),
        number("Evicted/s", "evictions_rate", rate),
        number("Expired/s", "expired_rate", rate, "wide"),
        number("Bytes in/s", "bytes_in_rate", bytes, "mid"),
        number("Bytes out/s", "bytes_out_rate", bytes),
        number("Connections", "connections", count, "mid"),
        number("New/s", "new_connections_rate", rate, "wide"),
        number("Refused", "refused_connections", count, "wide"),
        number("Yields", "conn_yields", count, "wide"),
        { label: "Memory", num: true, look: "mid", value: value("memory_used"), cell: (row) => value("memory_used")(row) == null ? NONE
          : `${bytes(value("memory_used")(row))} of ${bytes(value("memory_limit")(row))}` },
      ],
      detail: (row) => {
        const all = el("div", "", ...remarks(row).map((one) => el("p", "", safe(one))));
        for (const one of hosts.instances?.[row] || []) all.append(facts([["instance", `pid ${one.pid}`], ...statsFacts(one.stats || {})]));
        return all;
      },
    });
  };

  const instanceFacts = (one) => {
    const probe = one.probe || {};
    const container = one.container;
    const cost = one.cost;
    const offset = probe.offset ? "+" + probe.offset : "";
    return facts([
      ["instance", `pid ${one.pid}, ${(one.ports || []).length ? "port " + one.ports.join(", ") : "no port"}`],
      ["state", pill(one.state, stateLook(one.state))],
      ["error", one.error && safe(one.error.message)],
      ["program", name([one.exe, one.version].filter(Boolean).join("  "))],
      ["container", container && name([container.runtime, container.name || container.id, container.image].filter(Boolean).join("  "))],
      ["probe", safe([probe.kind || "none", probe.symbol && probe.symbol + offset, probe.exact ? "exact" : "approximate", probe.why].filter(Boolean).join(" · "))],
      ["window", one.window_s != null && seconds(one.window_s)],
      ["requests", one.requests != null && count(one.requests)],
      ...statsFacts(one.stats || {}),
      ["cost", cost && cost.during_us != null && cost.before_us != null &&
        `${cost.before_us.toFixed(1)} µs a request before, ${cost.during_us.toFixed(1)} µs during the trace`],
    ]);
  };

  const hostTable = () => {
    const load = (row) => at(hosts, "load", row);
    let scale = 2;
    for (let row = 0; row < hosts.n; row++) scale = Math.max(scale, load(row) || 0);
    table({
      into: section("hosts"), noun: "host", n: hosts.n, sort: 1, page: 20,
      note: "Load is the host's rate against the mean, which the trend in the bar shows.",
      text: (row) => [hosts.host[row], hosts.state[row], ...causeText(row), ...(hosts.instances?.[row] || []).map(
        (one) => [one.exe, one.container?.name, one.container?.image].join(" "))].join(" "),
      filters: [["All hosts", null], ["Hot", (row) => load(row) >= HOT], ["Not ok", (row) => hosts.state[row] !== "ok"]],
      columns: [
        { label: "Host", ascending: true, value: (row) => hosts.host[row], cell: (row) => name(hosts.host[row]) },
        { label: "Load", value: load, cell: (row) => load(row) == null ? NONE
          : el("span", "load", el("b", "", times(load(row))), track(load(row) / scale, level(load(row)), 1 / scale)) },
        { label: "Requests/s", num: true, value: (row) => at(hosts, "rate", row), cell: (row) => rate(at(hosts, "rate", row)) },
        { label: "Share", num: true, look: "mid", value: (row) => at(hosts, "share", row), cell: (row) => percent(at(hosts, "share", row)) },
        { label: "Hottest key", look: "wide", value: (row) => (hosts.top[row].length ? hosts.top[row][0][1] : null),
          cell: (row) => hosts.top[row].length ? name(keyText(hosts.top[row][0][0])) : NONE },
        { label: "Timeline", look: "mid", value: (row) => Math.max(...(at(hosts, "timeline", row) || [0])),
          cell: (row) => timeline(at(hosts, "timeline", row), null, 90, 20) },
        { label: "State", value: (row) => hosts.state[row], cell: (row) => pill(hosts.state[row], stateLook(hosts.state[row])) },
      ],
      detail: (row) => {
        const cause = at(hosts, "cause", row);
        const error = at(hosts, "error", row);
        const top = el("span");
        hosts.top[row].slice(0, 10).forEach(([key, n], i) => top.append(i ? el("br") : "", name(keyText(key)), el("span", "figure", count(n))));
        const all = el("div", "", facts([
          ["error", error && safe(error.message)],
          ["cause", cause && el("span", "", ...causeWords(cause))],
          ["hottest keys", hosts.top[row].length ? top : null],
          ["busiest clients", askedBy(hosts, row)],
        ]));
        for (const one of hosts.instances?.[row] || []) all.append(el("hr"), instanceFacts(one));
        return all;
      },
    });
  };
  const causeText = (row) => { const cause = at(hosts, "cause", row); return cause ? [cause.key, cause.template] : []; };

  // ---- keys --------------------------------------------------------------------------------------------------------
  const SPREAD = { one: "one host", several: "several hosts", everywhere: "everywhere" };
  const KINDS = { late: "late", burst: "burst" };
  const ops = (row) => {
    const known = at(keys, "ops", row);
    if (!known) return NONE;
    const all = Object.values(known).reduce((a, b) => a + b, 0);
    const parts = Object.entries(known).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
    return parts.map(([op, n]) => `${op} ${all === n ? "" : n / all < 0.01 ? "< 1 %" : Math.round((100 * n) / all) + " %"}`.trim()).join(", ");
  };
  const trendFrom = (row) => {
    const trend = at(keys, "trend", row);
    const values = at(keys, "timeline", row);
    if (!trend || !values) return null;
    const buckets = (totals.timeline && totals.timeline.length) || values.length;
    return Math.min(values.length - 1, Math.floor((trend.at_s / (run.bucket_s || 1)) * (values.length / buckets)));
  };
  const trendPill = (row) => {
    const trend = at(keys, "trend", row);
    return trend ? pill(`${KINDS[trend.kind] || trend.kind}, from ${seconds(trend.at_s)}`, "bad") : "";
  };
  const bounds = (row) => {
    const most = at(keys, "requests_max", row);
    return most == null || most === keys.requests[row] ? "" : el("small", "", "at most " + count(most));
  };

  const ORDERS = { bytes: "Out/s", misses: "Misses" };
  const heaviest = () => {
    const found = data.by_bytes;
    if (!found) return "";
    const sent = found.out_rate == null ? bytes(found.bytes_out) : bytes(found.out_rate) + " a second";
    return `By bytes, ${safe(found.key)} is first: about ${sent}, ${percent(found.share)} of ${found.all_sent == null ? "what all keys of known size sent" : "all bytes sent"}. `;
  };

  const often = (row, what, n) => {
    const second = at(keys, "rate", row);
    return second == null || !keys.requests[row] ? "" : `, ${what} ${rate(second * n / keys.requests[row])} times a second`;
  };

  const keyTable = () => {
    const value = (field) => (row) => at(keys, field, row);
    const most = Math.max(0, ...(keys.share || []).map((n) => n || 0));
    const topHost = (row) => keys.top_host[row];
    const columns = [
      { label: "Key", ascending: true, value: value("key"), cell: (row) => el("span", "", name(keys.key[row]),
        at(keys, "truncated", row) ? pill("cut") : "") },
      { label: "Requests", num: true, value: value("requests"), cell: (row) => el("span", "", count(keys.requests[row]), bounds(row)),
        title: "The fewest that the key can have had; below, the most, where the two differ" },
      { label: "Sure", look: "mid", value: value("certified"), title: "Certain to be among the hottest keys, whatever was not seen",
        cell: (row) => at(keys, "certified", row) ? el("span", "good", "✓") : el("span", "muted", "?") },
      { label: "Requests/s", num: true, look: "wide", value: value("rate"), cell: (row) => rate(at(keys, "rate", row)) },
      { label: "Share", look: "mid", value: value("share"), cell: (row) => el("span", "load", el("b", "", percent(at(keys, "share", row))),
        most ? track((at(keys, "share", row) || 0) / most, "", null, true) : "") },
      { label: "Commands", look: "wide", value: ops, cell: ops },
      keys.misses && { label: "Misses", num: true, look: "wide", value: value("misses"), cell: (row) => count(at(keys, "misses", row)) },
      keys.size && { label: "Size", num: true, look: "wide", value: value("size"), title: "Of the value, after the window",
        cell: (row) => bytes(at(keys, "size", row)) },
      keys.out_rate && { label: "Out/s", num: true, look: "mid", value: value("out_rate"),
        title: "Estimated: what was fetched times the size of the value", cell: (row) => bytes(at(keys, "out_rate", row)) },
      keys.ttl_s && { label: "TTL", num: true, look: "wide", value: value("ttl_s"), title: "Until it expires",
        cell: (row) => ttl(at(keys, "ttl_s", row)) },
      { label: "Where", look: "mid", value: value("hosts"), cell: (row) => {
        const top = topHost(row);
        const spread = at(keys, "spread", row);
        const heavy = spread === "one" && top && top[2] >= 0.1;
        const where = pill(SPREAD[spread] || plural(at(keys, "hosts", row), "host"), heavy ? "warm" : "");
        return el("span", "", where, top ? el("small", "", spread === "everywhere" ? plural(at(keys, "hosts", row), "host") : safe(hosts.host[top[0]])) : "");
      } },
      { label: "Timeline", value: (row) => { const trend = at(keys, "trend", row); return trend ? trend.at_s + 1 : 0; }, title: "Over the window; sorts what came late or burst first",
        cell: (row) => el("span", "", timeline(at(keys, "timeline", row), trendFrom(row), narrow ? 64 : 90, 20), trendPill(row)) },
    ].filter(Boolean);
    table({
      into: section("keys"), noun: "key", n: keys.n, sort: Math.max(1, columns.findIndex((column) => column.label === ORDERS[data.sort])), page: 50, columns,
      note: heaviest() + "✓ is certain to be among the hottest, whatever was not seen. Open a row for all that is known.",
      text: (row) => [keys.key[row], topHost(row) ? hosts.host[topHost(row)[0]] : ""].join(" "),
      filters: [["All keys", null], ["Certified", (row) => at(keys, "certified", row)], ["On one host", (row) => at(keys, "spread", row) === "one"],
        ["On several hosts", (row) => at(keys, "spread", row) === "several"], ["Everywhere", (row) => at(keys, "spread", row) === "everywhere"],
        ["Late or bursting", (row) => at(keys, "trend", row)]],
      detail: (row) => {
        const top = topHost(row);
        const most = at(keys, "requests_max", row);
        const exact = most === keys.requests[row];
        return facts([
          ["key", name(keys.key[row])],
          ["bytes, base64", at(keys, "key_base64", row) && name(keys.key_base64[row])],
          ["length", at(keys, "length", row) != null && plural(keys.length[row], "byte") + (at(keys, "truncated", row) ? ", of which only the beginning could be read" : "")],
          ["requests", exact ? count(most) + ", exact on the hosts traced" : `${count(keys.requests[row])} to ${count(most)}`],
          ["rate", at(keys, "rate", row) != null && rate(keys.rate[row]) + " a second, " + percent(at(keys, "share", row)) + " of the fleet"],
          ["commands", at(keys, "ops", row) && Object.entries(keys.ops[row]).map(([op, n]) => `${safe(op)} ${count(n)}`).join(", ")],
          ["misses", at(keys, "misses", row) != null && count(keys.misses[row]) + (at(keys, "miss_cause", row) ? ", " + safe(keys.miss_cause[row]) : "") + often(row, "missed", keys.misses[row])
            + (at(keys, "ops", row) ? often(row, "stored", keys.ops[row].set || 0) : "")],
          ["written", at(keys, "value_bytes", row) != null && bytes(keys.value_bytes[row])],
          ["size", at(keys, "size", row) != null && count(keys.size[row]) + " bytes, after the window"],
          ["sent, estimated", at(keys, "bytes_out", row) != null && bytes(keys.bytes_out[row]) + (at(keys, "out_rate", row) == null ? "" : `, ${bytes(keys.out_rate[row])} a second`)],
          ["expires", at(keys, "ttl_s", row) != null && ttl(keys.ttl_s[row])],
          ["last access", at(keys, "last_access_s", row) != null && `noted ${count(keys.last_access_s[row])} s before`],
          ["slab class", at(keys, "slab_class", row) != null && String(keys.slab_class[row])],
          ["not known", at(keys, "unknown", row) && safe(keys.unknown[row])],
          ["hosts", plural(at(keys, "hosts", row), "host") + " list it"],
          ["hottest on", top && el("span", "", name(hosts.host[top[0]]), el("span", "figure", `${count(top[1])} requests` + (top[2] == null ? "" : `, ${percent(top[2])} of all there`)))],
          ["asked by", askedBy(keys, row)],
          ["timeline", at(keys, "timeline", row) && el("span", "", timeline(keys.timeline[row], trendFrom(row), 420, 60), trendPill(row))],
        ].filter(([, shown]) => shown));
      },
    });
  };

  // ---- families ----------------------------------------------------------------------------------------------------
  const templateTable = () => {
    const value = (field) => (row) => at(templates, field, row);
    const most = Math.max(0, ...(templates.share || []).map((n) => n || 0));
    const flat = (row) => {
      const hottest = at(templates, "hottest", row);
      return hottest != null && templates.keys[row] > 9 && hottest < 0.05 * templates.requests[row];
    };
    table({
      into: section("templates"), noun: "family", n: templates.n, sort: 1, page: 20,
      note: "Keys that differ only in the parts written {}. A family can be hot while none of its keys is.",
      text: (row) => templates.template[row],
      columns: [
        { label: "Family", ascending: true, value: value("template"), cell: (row) => name(templates.template[row]) },
        { label: "Requests", num: true, value: value("requests"), cell: (row) => count(templates.requests[row]) },
        { label: "Share", look: "mid", value: value("share"), cell: (row) => el("span", "load", el("b", "", percent(at(templates, "share", row))),
          most ? track((at(templates, "share", row) || 0) / most, "", null, true) : "") },
        { label: "Keys", num: true, value: value("keys"), cell: (row) => count(templates.keys[row]) },
        { label: "Hottest member", num: true, look: "mid", value: value("hottest"), cell: (row) => {
          const hottest = at(templates, "hottest", row);
          return hottest == null ? NONE : el("span", "", count(hottest), flat(row) ? el("small", "", "no hot member") : "");
        } },
      ],
      detail: (row) => facts([["family", name(templates.template[row])], ["requests", count(templates.requests[row])],
        ["rate", at(templates, "rate", row) != null && rate(templates.rate[row]) + " a second"], ["keys seen", count(templates.keys[row])]].filter(([, shown]) => shown)),
    });
  };

  // ---- the map -----------------------------------------------------------------------------------------------------
  const heatMap = () => {
    const into = section("heat");
    const rows = data.heat.keys;
    if (!rows || !data.heat.cells.length) { into.hidden = true; return; }
    const order = [...Array(hosts.n).keys()].sort((a, b) => (at(hosts, "load", b) ?? -1) - (at(hosts, "load", a) ?? -1) || a - b);
    const column = new Array(hosts.n);
    order.forEach((host, i) => { column[host] = i; });
    const known = new Map(data.heat.cells.map(([key, host, n]) => [key * hosts.n + column[host], n]));
    const most = Math.max(...known.values());
    const readout = el("p", "muted", "Point at a cell to read it.");
    readout.id = "readout";
    const list = el("ol");
    for (let key = 0; key < rows; key++) {
      const label = el("li", "", name(keys.key[key]));
      label.title = safe(keys.key[key]);
      list.append(label);
    }
    const canvas = el("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Requests of the hottest keys on each host; the tables above hold the same figures");
    const holder = el("div", "scroll", canvas);
    into.append(el("p", "muted", `The ${count(rows)} hottest keys (down) on ${plural(hosts.n, "host")} (across, the most loaded first).`), readout, el("div", "map", list, holder));
    into.append(el("p", "legend", el("span", "", "few ", el("i"), ` ${compact.format(most)} requests`), el("span", "", "blank: not among the hottest keys of that host"), el("span", "", "grey: nothing traced")));
    const HIGH = 18;
    let wide = 0;
    const draw = () => {
      const room = holder.clientWidth || 600;
      wide = Math.max(5, Math.min(24, Math.floor(room / hosts.n)));
      const scale = devicePixelRatio || 1;
      canvas.width = wide * hosts.n * scale;
      canvas.height = HIGH * rows * scale;
      canvas.style.width = wide * hosts.n + "px";
      canvas.style.height = HIGH * rows + "px";
      const style = getComputedStyle(document.documentElement);
      const heat = style.getPropertyValue("--heat");
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      pen.fillStyle = style.getPropertyValue("--soft");
      for (let key = 0; key < rows; key++) pen.fillRect(0, key * HIGH + 1, wide * hosts.n - 1, HIGH - 2);
      pen.fillStyle = style.getPropertyValue("--line");
      order.forEach((host, i) => { if (at(hosts, "requests", host) == null) pen.fillRect(i * wide, 0, wide - 1, HIGH * rows); });
      for (const [cell, n] of known) {
        const [key, i] = [Math.floor(cell / hosts.n), cell % hosts.n];
        pen.fillStyle = `rgba(${heat}, ${(0.1 + 0.9 * (Math.log1p(n) / Math.log1p(most)) ** 4).toFixed(3)})`;
        pen.fillRect(i * wide, key * HIGH + 1, wide - 1, HIGH - 2);
      }
    };
    const read = (event) => {
      const box = canvas.getBoundingClientRect();
      const i = Math.floor((event.clientX - box.left) / wide);
      const key = Math.floor((event.clientY - box.top) / HIGH);
      if (i < 0 || i >= hosts.n || key < 0 || key >= rows) return;
      const host = order[i];
      const n = known.get(key * hosts.n + i);
      const all = at(hosts, "requests", host);
      const words = all == null ? "nothing traced (" + hosts.state[host] + ")"
        : n == null ? "not among the hottest keys of this host" : `${count(n)} requests, ${percent(n / all)} of the host`;
      readout.replaceChildren(name(hosts.host[host]), " · ", name(keys.key[key]), " · " + safe(words));
    };
    canvas.addEventListener("pointermove", read);
    canvas.addEventListener("pointerdown", read);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    addEventListener("resize", draw);
    addEventListener("beforeprint", draw);
    draw();
  };

  // ---- problems ----------------------------------------------------------------------------------------------------
  const problems = () => {
    const into = section("problems");
    const list = el("ul", "problems");
    for (const one of [...data.errors, ...data.warnings]) {
      const shown = one.hosts.slice(0, 12).join(", ") + (one.hosts.length > 12 ? `, and ${count(one.hosts.length - 12)} more` : "");
      list.append(el("li", "", pill(one.state || one.code, one.state ? "bad" : "warm"), " ", shown && name(shown), shown && ": ", safe(one.message)));
    }
    into.append(list.children.length ? list : el("p", "none", "None: every host was traced in full."));
  };

  fleet();
  hostTable();
  if (hosts.stats) statsTable(); else section("memcached").hidden = true;
  keyTable();
  if (templates.n) templateTable(); else section("templates").hidden = true;
  heatMap();
  problems();
  document.getElementById("foot").textContent = "One request is one command naming one key. " + NONE + " stands for what is not known.";
  document.documentElement.dataset.ready = "yes";
})();
