// Turns the meshes stored in the page in its canvas: drag, pinch, wheel, arrow keys.
"use strict";
(() => {
  const canvas = document.getElementById("viewer");
  const stored = document.getElementById("meshes");
  if (!canvas || !stored) return;
  const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  const data = JSON.parse(stored.textContent);
  if (!gl || (data.index_bits === 32 && !gl.getExtension("OES_element_index_uint"))) {
    const box = document.getElementById("viewer-box");
    box.classList.add("without-webgl");
    return;
  }

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const faces = data.index_bits === 32
    ? new Uint32Array(bytes(data.faces)) : new Uint16Array(bytes(data.faces));

  function unpack(mesh) {
    const steps = new Int16Array(bytes(mesh.vertices));
    const points = new Float32Array(steps.length);
    for (let i = 0; i < steps.length; i++) points[i] = steps[i] * mesh.scale;
    return { name: mesh.name, points, normals: normalsOf(points), radius: radiusOf(points) };
  }

  function normalsOf(p) {
    const normals = new Float32Array(p.length);
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
      const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
      const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
    }
    return normals; // The shader gives them their unit length.
  }

  function radiusOf(p) {
    let squared = 1e-12;
    for (let i = 0; i < p.length; i += 3) {
      squared = Math.max(squared, p[i] * p[i] + p[i + 1] * p[i + 1] + p[i + 2] * p[i + 2]);
    }
    return Math.sqrt(squared);
  }

  const VERTEX = `
    attribute vec3 point, normal;
    uniform mat3 turn;
    uniform vec2 zoom;
    uniform float radius;
    varying vec3 n;
    void main() {
      n = turn * normal;
      vec3 p = turn * point / radius;
      float w = 1.0 - 0.25 * p.z;  // a mild perspective
      gl_Position = vec4(p.xy * zoom, -0.5 * p.z * w, w);
    }`;
  const FRAGMENT = `
    precision mediump float;
    varying vec3 n;
    void main() {
      vec3 u = normalize(n);
      vec3 light = normalize(vec3(-0.45, 0.6, 0.75));
      float diffuse = max(dot(u, light), 0.0);
      float gloss = pow(max(dot(u, normalize(light + vec3(0.0, 0.0, 1.0))), 0.0), 32.0);
      vec3 skin = vec3(0.80, 0.62, 0.52) * (0.24 + 0.86 * diffuse) + 0.08 * gloss;
      gl_FragColor = vec4(pow(skin, vec3(0.72)), 1.0);
    }`;

  function shader(kind, source) {
    const made = gl.createShader(kind);
    gl.shaderSource(made, source);
    gl.compileShader(made);
    return made;
  }

  const meshes = data.meshes.map(unpack);
  let program, place;
  let shown = 0, zoom = 0.95, queued = false;
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]; // column by column

  function prepare() {
    program = gl.createProgram();
    gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
    place = Object.fromEntries(["turn", "zoom", "radius"]
      .map((name) => [name, gl.getUniformLocation(program, name)]));
    for (const mesh of meshes) {
      for (const name of ["points", "normals"]) {
        const buffer = gl.createBuffer();
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.bufferData(gl.ARRAY_BUFFER, mesh[name], gl.STATIC_DRAW);
        mesh[name + "Buffer"] = buffer;
      }
    }
  }

  function attribute(name, buffer) {
    const where = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(where);
    gl.vertexAttribPointer(where, 3, gl.FLOAT, false, 0, 0);
  }

  function draw() {
    queued = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const mesh = meshes[shown], smaller = Math.min(width, height);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0.09, 0.10, 0.12, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    attribute("point", mesh.pointsBuffer);
    attribute("normal", mesh.normalsBuffer);
    gl.uniformMatrix3fv(place.turn, false, turn);
    gl.uniform2f(place.zoom, zoom * smaller / width, zoom * smaller / height);
    gl.uniform1f(place.radius, mesh.radius);
    const type = data.index_bits === 32 ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT;
    gl.drawElements(gl.TRIANGLES, faces.length, type, 0);
  }

  function redraw() {
    if (!queued) {
      queued = true;
      requestAnimationFrame(draw);
    }
  }

  // Turns about the screen's axes, after what was turned before.
  function rotate(aboutY, aboutX) {
    const [cy, sy, cx, sx] = [Math.cos(aboutY), Math.sin(aboutY), Math.cos(aboutX), Math.sin(aboutX)];
    const rows = [[cy, 0, sy], [sx * sy, cx, -sx * cy], [-cx * sy, sx, cx * cy]];
    const turned = [];
    for (let column = 0; column < 3; column++) {
      for (const row of rows) {
        turned.push(row[0] * turn[3 * column] + row[1] * turn[3 * column + 1]
          + row[2] * turn[3 * column + 2]);
      }
    }
    turn = orthonormal(turned);
    redraw();
  }

  // Keeps thousands of small turns from shearing the hand.
  function orthonormal(m) {
    const unit = (v) => v.map((x) => x / Math.hypot(...v));
    const a = unit(m.slice(0, 3)), b0 = m.slice(3, 6);
    const along = a[0] * b0[0] + a[1] * b0[1] + a[2] * b0[2];
    const b = unit(b0.map((x, k) => x - along * a[k]));
    const c = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
    return [...a, ...b, ...c];
  }

  function zoomBy(factor) {
    zoom = Math.min(8, Math.max(0.3, zoom * factor));
    redraw();
  }

  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const before = fingers.size === 2 ? spread() : 0;
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
    [finger.x, finger.y] = [event.clientX, event.clientY];
    if (fingers.size === 2) zoomBy(spread() / before);
    else if (fingers.size === 1) rotate(0.01 * dx, 0.01 * dy);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-0.0012 * event.deltaY));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const keys = {
      ArrowLeft: () => rotate(-0.1, 0), ArrowRight: () => rotate(0.1, 0),
      ArrowUp: () => rotate(0, -0.1), ArrowDown: () => rotate(0, 0.1),
      "+": () => zoomBy(1.1), "-": () => zoomBy(1 / 1.1),
    };
    if (keys[event.key]) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  const buttons = document.getElementById("viewer-buttons");
  meshes.forEach((mesh, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = mesh.name;
    button.setAttribute("aria-pressed", String(index === shown));
    button.addEventListener("click", () => {
      shown = index;
      [...buttons.children].forEach((other, k) => other.setAttribute("aria-pressed", String(k === index)));
      redraw();
    });
    buttons.append(button);
  });

  // A phone may take the context away while the page is in the background.
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => { prepare(); redraw(); });
  window.addEventListener("resize", redraw);
  prepare();
  draw();
})();
