//! A code as SVG: one unit a module, scaled to the size that was asked for.

use std::fmt::Write;

use super::look::{Look, Unusable};
use super::modules::Modules;

/// Draws a code as SVG.
///
/// # Errors
/// As for [`super::png`], so that both formats accept the same.
pub fn svg(modules: &Modules, look: &Look) -> Result<String, Unusable> {
    look.fits(modules.width())?;
    let (dark, light) = look.colors();
    let (size, all) = (look.size(), look.modules(modules.width()));
    let mut image = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{size}\" height=\"{size}\" viewBox=\"0 0 {all} {all}\" \
         shape-rendering=\"crispEdges\"><path fill=\"{light}\" d=\"M0 0h{all}v{all}H0z\"/><path fill=\"{dark}\" d=\""
    );
    for (y, row) in modules.rows().enumerate() {
        let (mut x, y) = (look.margin() as usize, y + look.margin() as usize);
        for run in row.chunk_by(|one, next| one == next) {
            let length = run.len();
            if run[0] {
                let _ = write!(image, "M{x} {y}h{length}v1h-{length}z");
            }
            x += length;
        }
    }
    image.push_str("\"/></svg>\n");
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::super::modules::Level;
    use super::*;

    #[test]
    fn the_rectangles_are_the_dark_modules_behind_the_margin() {
        let modules = Modules::of("https://go.example/a", Level::Q).unwrap();
        let look = Look::new(300, 3, "123456".parse().unwrap(), "fed".parse().unwrap()).unwrap();
        let image = svg(&modules, &look).unwrap();
        let all = modules.width() + 6;
        assert!(image.contains(&format!("width=\"300\" height=\"300\" viewBox=\"0 0 {all} {all}\"")), "{image}");
        assert!(image.contains("fill=\"#123456\"") && image.contains("fill=\"#ffeedd\""), "{image}");
        let path = image.split("d=\"").nth(2).unwrap().split('"').next().unwrap();
        let mut dark = vec![vec![false; all as usize]; all as usize];
        for run in path.split('M').skip(1) {
            let numbers: Vec<usize> = run
                .split(|c: char| !c.is_ascii_digit())
                .filter(|part| !part.is_empty())
                .map(|part| part.parse().unwrap())
                .collect();
            let [x, y, length, 1, back] = numbers[..] else { panic!("{run}") };
            assert_eq!(length, back);
            dark[y][x..x + length].fill(true);
        }
        let within: Vec<bool> =
            dark[3..all as usize - 3].iter().flat_map(|row| row[3..row.len() - 3].to_vec()).collect();
        assert_eq!(within, modules.rows().collect::<Vec<_>>().concat());
        assert_eq!(
            dark.concat().iter().filter(|dark| **dark).count(),
            within.iter().filter(|dark| **dark).count(),
            "nothing is drawn in the margin"
        );
    }
}
