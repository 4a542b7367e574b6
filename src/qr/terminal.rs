//! A code in characters for a terminal. A character holds two modules, one above the other, which makes them about square.

use super::modules::Modules;

/// How modules are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Black on white, whatever colours the terminal has.
    Colors,
    /// By characters alone, where text is light and the background dark.
    OnDark,
    /// By characters alone, where text is dark and the background light.
    OnLight,
}

/// Black on white from the fixed part of the 256 colours: themes change the first 16.
const BEGIN: &str = "\u{1b}[38;5;16;48;5;231m";

const END: &str = "\u{1b}[0m";

/// Draws a code, one line for two rows of modules. The margin counts in modules.
pub fn terminal(modules: &Modules, margin: u32, ink: Ink) -> String {
    let (width, margin) = (modules.width() as usize, margin as usize);
    let all = width + 2 * margin;
    let rows: Vec<&[bool]> = modules.rows().collect();
    let dark = |x: usize, y: usize| {
        let module = |at: usize| at.checked_sub(margin).filter(|at| *at < width);
        module(x).zip(module(y)).is_some_and(|(x, y)| rows[y][x])
    };
    // What is drawn in the colour of text: behind the last row there is only background.
    let text = |x: usize, y: usize| match ink {
        Ink::Colors | Ink::OnLight => dark(x, y),
        Ink::OnDark => y < all && !dark(x, y),
    };
    let mut drawn = String::new();
    for y in (0..all).step_by(2) {
        let line = (0..all).map(|x| match (text(x, y), text(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        match ink {
            Ink::Colors => {
                drawn.push_str(BEGIN);
                drawn.extend(line);
                drawn.push_str(END);
            }
            Ink::OnDark | Ink::OnLight => drawn.extend(line),
        }
        drawn.push('\n');
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::super::modules::Level;
    use super::*;

    /// The modules that are drawn in the colour of text.
    fn read(drawn: &str) -> Vec<Vec<bool>> {
        let halves = |c| match c {
            '█' => (true, true),
            '▀' => (true, false),
            '▄' => (false, true),
            ' ' => (false, false),
            c => panic!("{c:?}"),
        };
        drawn
            .lines()
            .flat_map(|line| {
                let (above, below) = line.chars().map(halves).unzip::<_, _, Vec<_>, Vec<_>>();
                [above, below]
            })
            .collect()
    }

    #[test]
    fn each_module_is_half_a_character_and_the_background_decides_which_are_drawn() {
        let modules = Modules::of("https://go.example/a", Level::M).unwrap();
        for margin in [0, 1, 4] {
            let light = read(&terminal(&modules, margin, Ink::OnLight));
            let dark = read(&terminal(&modules, margin, Ink::OnDark));
            let (width, margin) = (modules.width() as usize, margin as usize);
            let all = width + 2 * margin;
            assert_eq!(light.len(), all + 1, "an odd number of rows ends with half a line");
            for y in 0..all {
                for x in 0..all {
                    let within = |at: usize| at >= margin && at < margin + width;
                    let module = within(x) && within(y) && modules.rows().nth(y - margin).unwrap()[x - margin];
                    assert_eq!((light[y][x], dark[y][x]), (module, !module), "{x}, {y}");
                }
            }
            assert!(light[all].iter().chain(&dark[all]).all(|drawn| !drawn));
        }
    }

    #[test]
    fn in_colours_it_is_black_on_white_and_each_line_ends_them() {
        let modules = Modules::of("https://go.example/a", Level::M).unwrap();
        let colors = terminal(&modules, 2, Ink::Colors);
        let bare: String = colors
            .lines()
            .map(|line| {
                let line = line.strip_prefix(BEGIN).and_then(|line| line.strip_suffix(END)).unwrap();
                format!("{line}\n")
            })
            .collect();
        assert_eq!(bare, terminal(&modules, 2, Ink::OnLight));
    }
}
