"use strict";

const KEYS = [37, 38, 39, 40, 61, 107, 109, 173, 187, 189]; // arrows, plus and minus; all others stay the page's

/**
 * Shows an equirectangular picture as a sphere around the reader, who drags, zooms, or takes arrows, + and -.
 *
 * place: an element with data-top and data-bottom, the degrees above the horizon where the picture ends.
 * address: of the picture.
 * failed: is called where this browser cannot show it; the place is empty again then.
 */
function lookAround(place, address, failed) {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const top = Number(place.dataset.top), bottom = Number(place.dataset.bottom);
  const ring = { vaov: top - bottom, vOffset: (top + bottom) / 2, maxPitch: top, minPitch: bottom, avoidShowingBackground: true };
  const viewer = pannellum.viewer(place, {
    type: "equirectangular", panorama: address, ignoreGPanoXMP: true, autoLoad: true, hfov: 90, minHfov: 30,
    friction: still ? 1 : 0.15, doubleClickZoom: !still, ...(top - bottom < 180 ? ring : {}),
    capturedKeyNumbers: KEYS,
  });
  viewer.on("load", () => {
    if (place.isConnected) viewer.setHfov(viewer.getHfov(), false); // within a ring, whose limits hold from now on
    else viewer.destroy(); // it was left before the picture was there
  });
  viewer.on("error", () => setTimeout(() => { // once it has said so itself
    viewer.destroy();
    failed();
  }));
  return viewer;
}
