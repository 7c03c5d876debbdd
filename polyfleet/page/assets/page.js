// Draws every figure of the page, and draws it again when the reader's colour scheme changes.
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: of("--line"), zerolinecolor: of("--line"), linecolor: of("--line") };
    return { ink: of("--ink"), axis: axis };
  }
  function draw() {
    const look = colours();
    for (const holder of document.querySelectorAll(".plot")) {
      const figure = JSON.parse(document.getElementById(holder.id + "-data").textContent);
      const layout = Object.assign({}, figure.layout, {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: look.ink, size: 13 }, autosize: true,
      });
      for (const key of Object.keys(layout)) {
        if (/^[xy]axis/.test(key)) layout[key] = Object.assign({}, look.axis, layout[key]);
      }
      Plotly.react(holder, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }
  dark.addEventListener("change", draw);
  draw();
})();
