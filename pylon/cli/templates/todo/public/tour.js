// Three things to try, shown where the server runs on this machine. To do without: delete this file,
// its line in index.html and its name in sw.js.

import { savedAccount } from "./sync.js";

const NAME = "todo-app";
const STEPS = [
  ["Open a second window beside this one", "and add something: both show it at once."],
  ["Stop the server", "with Ctrl+C in its terminal. Add, tick, delete, reload: everything works on."],
  ["Start it again.", "All you did arrives, in order and once. The rest is in app.py: 30 lines."],
];

const tour = document.getElementById("tour");
const connection = document.getElementById("connection");
const others = new BroadcastChannel(`${NAME}:windows`);
const tried = new Set(JSON.parse(sessionStorage.getItem("tried") ?? "[]"));

tour.innerHTML = `<h2 id="tour-title">Try it</h2><ol></ol>`;
const lines = STEPS.map(([what, then], step) => {
  const line = document.createElement("li");
  const name = document.createElement(step === 0 ? "a" : "b");
  name.textContent = what;
  if (step === 0) {
    Object.assign(name, { href: "./", target: "_blank", className: "link" });
    name.addEventListener("click", (event) => {
      event.preventDefault();
      open(name.href, "_blank", "popup,width=480,height=640");
    });
  }
  line.append(name, ` ${then}`);
  tour.querySelector("ol").append(line);
  return line;
});

function tick(step) {
  tried.add(step);
  sessionStorage.setItem("tried", JSON.stringify([...tried]));
  show();
}

function show() {
  lines.forEach((line, step) => {
    line.toggleAttribute("data-tried", tried.has(step));
    if (tried.has(step)) line.setAttribute("aria-label", `Done: ${line.textContent}`);
  });
  const isThisMachine = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  tour.hidden = !isThisMachine || !savedAccount(NAME);
}

others.onmessage = ({ data }) => {
  tick(0);
  if (data === "hello") others.postMessage("welcome");
};
others.postMessage("hello");

new MutationObserver(() => {
  const { state } = connection.dataset;
  if (state === "offline") tick(1);
  else if (state === "live" && tried.has(1)) tick(2);
  else show();
}).observe(connection, { attributes: true });

show();
