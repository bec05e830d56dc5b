import { render } from "preact";
import { Page } from "./page";
import { placeOf } from "./place";
import "./style.css";
import { followTheme } from "./theme";

followTheme();
const root = document.getElementById("root");
if (root) render(<Page place={placeOf(location.pathname, location.search)} />, root);
