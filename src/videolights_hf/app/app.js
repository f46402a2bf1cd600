"use strict";
// The parts of the app that are its own: the picture, and what it says.

function videolightsFollowTheme(root) {
  // Gradio says on the body whether the page is dark.
  const apply = () => {
    const dark = document.body.classList.contains("dark");
    root.classList.toggle("dark", dark);
    root.classList.toggle("light", !dark);
  };
  apply();
  new MutationObserver(apply).observe(document.body, {attributes: true, attributeFilter: ["class"]});
}

function videolightsGroupChoices() {
  // Gradio gives each radio button a name of its own: together they are one stop for Tab, and arrow keys choose.
  const choices = document.querySelectorAll("#chosen input[type=radio]");
  for (const choice of choices) choice.name = "video";
  const group = choices.length ? choices[0].closest(".wrap") : null;
  if (group) {
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", "Video");
  }
}

function videolightsShowPicture(element, props, watch) {
  const root = element.querySelector(".picture");
  const show = videolightsPicture(root);
  videolightsFollowTheme(root);
  const update = () => {
    videolightsGroupChoices();
    if (!props.value) return;
    show(props.value);
    // On a phone the picture is below what was asked.
    if (props.value.predictions.length && root.getBoundingClientRect().top > window.innerHeight / 2)
      root.scrollIntoView({behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth"});
  };
  watch("value", update);
  update();
}

function videolightsShowMessage(element, props, watch) {
  const line = element.querySelector(".message");
  const update = () => {
    const message = props.value;
    if (!message) return;
    line.classList.toggle("is-error", message.is_error);
    line.textContent = message.text + " ";
    if (!message.file) return;
    const link = document.createElement("a");
    link.href = message.file.address;
    link.download = message.file.name;
    link.textContent = message.file.name;
    line.append(link);
    link.click();
  };
  watch("value", update);
  update();
}
