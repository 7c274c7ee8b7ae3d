//! An input that is written like a request: a line for the target, headers, an empty line, a body.

pub struct Request<'i> {
    pub first: &'i str,
    pub headers: Vec<(&'i str, &'i [u8])>,
    pub body: &'i [u8],
}

pub fn request(input: &[u8]) -> Option<Request<'_>> {
    let (first, mut rest) = line(input)?;
    let mut headers = Vec::new();
    loop {
        let (header, after) = line(rest)?;
        rest = after;
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|byte| *byte == b':')?;
        headers.push((std::str::from_utf8(&header[..colon]).ok()?, &header[colon + 1..]));
    }
    Some(Request { first: std::str::from_utf8(first).ok()?, headers, body: rest })
}

fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}
